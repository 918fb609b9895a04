"""What Python tests share: the seed, a private plan cache, the real model, shares of slow tests."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
SLOW_SHARES = 3
# As it was before `plan_cache` changed it: where a model that was fetched once stays.
ENVIRONMENT = dict(os.environ)

# Wall-clock deadlines of single examples fail on a loaded machine and say nothing about the code.
settings.register_profile("pelton", deadline=None, print_blob=True)
settings.load_profile("pelton")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=1, help="seed of randomized tests (default 1)")
    parser.addoption(
        "--slow-share",
        type=int,
        choices=range(SLOW_SHARES),
        default=None,
        help=f"of the slow tests run only this one of {SLOW_SHARES} shares",
    )


def pytest_report_header(config: pytest.Config) -> str:
    share = config.getoption("--slow-share")
    return f"seed {config.getoption('--seed')}" + (
        "" if share is None else f", slow tests of share {share} of {SLOW_SHARES} only"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drops the slow tests of other shares; the shares in turn cover all."""
    share = config.getoption("--slow-share")
    if share is None:
        return
    others = [
        item
        for item in items
        if item.get_closest_marker("slow")
        and zlib.crc32(item.nodeid.encode()) % SLOW_SHARES != share
    ]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in set(others)]


@pytest.fixture(scope="session", autouse=True)
def plan_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty plan cache of this run, also for the processes that tests start."""
    folder = tmp_path_factory.mktemp("plan-cache")
    os.environ["PELTON_CACHE_DIR"] = str(folder)
    return folder


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of this run (`--seed N`, printed in the header)."""
    return int(request.config.getoption("--seed"))


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2: PELTON_TEST_MINILM, or the one that `make serve` fetches."""
    given = os.environ.get("PELTON_TEST_MINILM")
    if given:
        return Path(given)
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "fetch_minilm.py")],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env=ENVIRONMENT,
    )
    if done.returncode != 0:
        pytest.fail(f"examples/fetch_minilm.py failed: {done.stderr.strip()}")
    return Path(done.stdout.strip().splitlines()[-1])
