"""Private memory that a plan adds to a second process: it is mapped, so both should share it."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.report import Figure, Section, table
from pelton.bridge import Plan, open_plan
from pelton.model import open_model_plan
from pelton.settings import load_settings

__all__ = ["run_memory"]

_PRIVATE: Final = re.compile(r"^Private_(?:Clean|Dirty): +(\d+) kB$", re.MULTILINE)
_TIMEOUT_S: Final = 120


def private_bytes() -> int:
    """Memory of this process that no other maps."""
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return 1024 * sum(int(kilobytes) for kilobytes in _PRIVATE.findall(rollup))


def _open_and_touch(path: str) -> Plan:
    plan = open_plan(path)
    plan.verify_weights()  # reads every byte of every weight
    return plan


def hold(path: str) -> None:
    """The first process: keeps the plan mapped until its input ends."""
    plan = _open_and_touch(path)
    print("ready", flush=True)
    sys.stdin.read()
    assert plan.path == path


def probe(path: str) -> None:
    """The second process: prints what opening and reading the plan adds to its private memory."""
    gc.collect()
    private_bytes()  # what reading it needs the first time is not the plan's
    before = private_bytes()
    plan = _open_and_touch(path)
    added = private_bytes() - before
    print(added, plan.file_bytes, flush=True)


@contextmanager
def _first_process(path: str) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.memory", "hold", path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            if process.stdout.readline() != "ready\n":
                raise SystemExit("bench: the process that holds the plan failed")
            yield
        finally:
            process.stdin.close()


def run_memory(folder: Path) -> Section:
    """Compiles the plan of `folder` into the cache where it is not yet."""
    path = open_model_plan(folder, load_settings()).path
    with _first_process(path):
        done = subprocess.run(
            [sys.executable, "-m", "bench.memory", "probe", path],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    if done.returncode != 0:
        raise SystemExit(f"bench: the second process failed:\n{done.stderr}")
    added, file_bytes = map(int, done.stdout.split())
    section = Section("Memory: what the plan adds to a second process")
    section.figures = [
        Figure(
            what="private memory that the plan adds to a second process",
            against="–",
            value=added / 1e6,
            shown=f"{added / 1e6:.2f} MB",
            reach=2.0,
            reach_shown="< 2 MB",
            lower=True,
        )
    ]
    rows = [("plan file", f"{file_bytes / 1e6:.1f}"), ("private, added", f"{added / 1e6:.2f}")]
    section.add(table(("", "MB"), rows))
    return section


if __name__ == "__main__":
    {"hold": hold, "probe": probe}[sys.argv[1]](sys.argv[2])
