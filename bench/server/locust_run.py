"""`make load`: every Locust scenario against a server of its own, and an HTML report of each.

`python -m bench.server.locust_run --seconds 5 --reports build/load`.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.machine import ROOT
from bench.server.requests import oip_request
from bench.server.stage import ServerOptions, Stage

__all__ = ["SCENARIOS", "main"]

_LOCUSTFILE: Final = Path(__file__).resolve().with_name("locustfile.py")
#: Scenario: its user class and the shape of its load.
SCENARIOS: Final[dict[str, tuple[str, str]]] = {
    "oip-binary": ("OipBinary", ""),
    "oip-json": ("OipJson", ""),
    "oip-msgpack": ("OipMsgpack", ""),
    "embeddings": ("Embeddings", ""),
    "open-loop": ("OpenLoop", ""),
    "ramp": ("OipBinary", "ramp"),
    "spike": ("OipBinary", "spike"),
}
_NEEDS_ENCODER: Final = ("embeddings",)
_SPARE_S: Final = 120.0


def _locust(
    name: str, url: str, reports: Path, given: argparse.Namespace
) -> subprocess.CompletedProcess[str]:
    user, shape = SCENARIOS[name]
    words = [sys.executable, "-m", "locust", "-f", str(_LOCUSTFILE), "-H", url, "--headless"]
    words += ["--users", str(given.users), "--spawn-rate", str(given.users), "--only-summary"]
    words += ["--html", str(reports / f"{name}.html"), "--arrivals", str(given.arrivals)]
    words += ["--stop-timeout", "5"]
    words += [] if shape else ["--run-time", f"{given.seconds}s"]
    environment = {**os.environ, "PELTON_LOAD_SHAPE": shape}
    return subprocess.run(
        [*words, user],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=given.seconds + _SPARE_S,
        check=False,
    )


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.server.locust_run", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--seconds", type=int, default=5, help="of each (%(default)s)")
    parser.add_argument("--users", type=int, default=16, help="default %(default)s")
    parser.add_argument("--arrivals", type=float, default=200.0, help="of the open loop, a second")
    parser.add_argument("--threads", type=int, default=2, help="of the server (%(default)s)")
    parser.add_argument("--reports", type=Path, default=ROOT / "build" / "load")
    parser.add_argument("--model", type=Path, help="encoder folder; else no embeddings")
    given = parser.parse_args(words)
    if unknown := sorted(set(given.scenarios) - set(SCENARIOS)):
        parser.error(f"unknown scenario {unknown[0]!r}; known are {', '.join(SCENARIOS)}")
    if min(given.seconds, given.users, given.threads) < 1 or given.arrivals <= 0:
        parser.error("--seconds, --users, --threads: expected at least 1; --arrivals: above 0")
    return given


def main(words: Sequence[str] | None = None) -> int:
    """0 where no request of any scenario failed."""
    given = _arguments(words)
    if importlib.util.find_spec("locust") is None:
        print("load: Locust is missing: pip install 'pelton[load]', or make load", file=sys.stderr)
        return 1
    scenarios = given.scenarios or [
        name for name in SCENARIOS if given.model is not None or name not in _NEEDS_ENCODER
    ]
    given.reports.mkdir(parents=True, exist_ok=True)
    options = ServerOptions(program=Path(), isa="", threads=given.threads)
    failed = []
    with Stage(options) as stage:
        models = {"add": stage.add_plan}
        if given.model is not None:
            models["minilm"] = given.model.absolute()
        probe = oip_request("add", "x", stage.add_row[None], "binary")
        server = stage.pelton(models, probe)
        for name in scenarios:
            print(f"load: {name}", file=sys.stderr, flush=True)
            done = _locust(name, f"http://127.0.0.1:{server.port}", given.reports, given)
            print(done.stdout, flush=True)
            if done.returncode != 0:
                failed.append(name)
    print(f"load: reports in {given.reports}", file=sys.stderr)
    for name in failed:
        print(f"load: {name} failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
