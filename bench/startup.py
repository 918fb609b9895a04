"""From exec to the first answer: `pelton serve` with its plan cached, against a script that only
imports what such a server stands on and loads the tokenizer."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

from bench.measure import Timing, paired_ratio
from bench.report import Figure, Section, table

__all__ = ["StartupOptions", "run_startup"]

_BASELINE: Final = """
import sys
import numpy, starlette.applications, starlette.routing, uvicorn, uvloop
from tokenizers import Tokenizer
Tokenizer.from_file(sys.argv[1])
sys.stdout.write("ready\\n")
sys.stdout.flush()
"""
_HOST: Final = "127.0.0.1"
_START_S_MAX: Final = 120.0
_STOP_S_MAX: Final = 30.0
_POLL_S: Final = 0.0005
_BODY: Final = json.dumps({"model": "minilm", "input": "hello world"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StartupOptions:
    """`folder` is the model's."""

    folder: Path
    threads: int = 2
    rounds: int = 15


def run_startup(options: StartupOptions) -> Section:
    """Exits where the server does not answer."""
    contestants: dict[str, Callable[[], float]] = {
        "pelton serve": lambda: _time_server(options),
        "script": lambda: _time_script(options.folder),
    }
    for once in contestants.values():  # compiles the plan, reads the files
        once()
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    for index in range(options.rounds):
        for name in contestants if index % 2 == 0 else reversed(contestants):
            samples[name].append(contestants[name]())
    times = {name: Timing(tuple(seconds)) for name, seconds in samples.items()}
    ratio = paired_ratio(times["pelton serve"], times["script"])
    section = Section("Start: exec to first answer, plan cached")
    section.figures = [
        Figure(
            what="exec of `pelton serve` to its first answer, plan cached",
            against="a script that imports numpy, starlette, uvicorn, uvloop, tokenizers and loads "
            "the tokenizer",
            value=ratio,
            shown=f"{ratio:.2f}x ({1e3 * times['pelton serve'].median:.0f} ms)",
            reach=1.5,
            reach_shown="≤ 1.5x",
            lower=True,
        )
    ]
    rows = [
        (name, f"{1e3 * timing.best:.0f} / {1e3 * timing.median:.0f}")
        for name, timing in times.items()
    ]
    section.add(table(("from exec to ready", "ms, best / median"), rows))
    return section


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((_HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def _serve_command(options: StartupOptions, port: int) -> list[str]:
    """The installed command where there is one beside this interpreter."""
    script = Path(sys.executable).parent / "pelton"
    command = [str(script)] if script.exists() else [sys.executable, "-m", "pelton"]
    command += ["serve", f"minilm={options.folder}", "--host", _HOST, "--port", str(port)]
    return [*command, "--threads", str(options.threads), "--log-level", "warning"]


def _wait_for_socket(port: int, process: subprocess.Popen[bytes], started: float) -> None:
    while True:
        with socket.socket() as probe:
            if probe.connect_ex((_HOST, port)) == 0:
                return
        if process.poll() is not None:
            raise SystemExit(f"bench: pelton serve ended with exit code {process.returncode}")
        if time.perf_counter() - started > _START_S_MAX:
            raise SystemExit(f"bench: pelton serve did not listen within {_START_S_MAX:.0f} s")
        time.sleep(_POLL_S)


def _first_answer(port: int) -> None:
    connection = HTTPConnection(_HOST, port, timeout=_START_S_MAX)
    try:
        connection.request("POST", "/v1/embeddings", _BODY, {"Content-Type": "application/json"})
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise SystemExit(f"bench: pelton serve answered {response.status}: {body[:200]!r}")


def _time_server(options: StartupOptions) -> float:
    """Seconds from exec to the first embedding."""
    port = _free_port()
    started = time.perf_counter()
    process = subprocess.Popen(_serve_command(options, port), stdin=subprocess.DEVNULL)
    try:
        _wait_for_socket(port, process, started)
        _first_answer(port)
        return time.perf_counter() - started
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=_STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _time_script(folder: Path) -> float:
    """Seconds from exec to the script's line; its end is not counted."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", _BASELINE, str(folder / "tokenizer.json")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process:
        line = process.stdout.readline()
        taken = time.perf_counter() - started
    if line != f"ready{os.linesep}".encode():
        raise SystemExit("bench: the script that the start is compared to failed")
    return taken
