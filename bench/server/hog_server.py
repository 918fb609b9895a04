"""`pelton.Server` inside a program that also does what a serving process should not do.

`python hog_server.py PLAN PORT THREADS`; lines on stdin: `hog on`, a Python thread computes without
end; `stall on`, a callback keeps the event loop for 5 ms ten times a second; `… off` ends either.
"""

from __future__ import annotations

import sys
import threading
import time
from asyncio import AbstractEventLoop
from pathlib import Path
from typing import Final

import pelton
from pelton.app import _SWITCH_INTERVAL_S
from pelton.settings import load_settings

__all__ = ["Hog", "Stall"]

_STALL_S: Final = 0.005
_STALL_PERIOD_S: Final = 0.1
_SLICE: Final = 10_000


class Hog:
    """A thread that computes while it is on."""

    def __init__(self) -> None:
        self._on = threading.Event()
        threading.Thread(target=self._compute, daemon=True).start()

    def switch(self, on: bool) -> None:
        if on:
            self._on.set()
        else:
            self._on.clear()

    def _compute(self) -> None:
        while self._on.wait():
            sum(range(_SLICE))


class Stall:
    """Keeps the loop busy in Python, as rendering a large page would."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._on = False

    def switch(self, on: bool) -> None:
        self._loop.call_soon_threadsafe(self._switch, on)

    def _switch(self, on: bool) -> None:
        begins = on and not self._on
        self._on = on
        if begins:
            self._stall()

    def _stall(self) -> None:
        if not self._on:
            return
        end = time.perf_counter() + _STALL_S
        while time.perf_counter() < end:
            pass
        self._loop.call_later(_STALL_PERIOD_S - _STALL_S, self._stall)


def main(plan: str, port: str, threads: str) -> None:
    # `pelton serve` sets it; a program that embeds the server does so itself.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    settings = load_settings(flags={"threads": int(threads)})
    with (
        pelton.load(plan, name=Path(plan).stem, settings=settings) as model,
        pelton.Server({model.name: model}, port=int(port), settings=settings) as server,
    ):
        loop = server._loop
        assert loop is not None
        disturbances: dict[str, Hog | Stall] = {"hog": Hog(), "stall": Stall(loop)}
        for line in sys.stdin:
            name, _, state = line.strip().partition(" ")
            disturbances[name].switch(state == "on")


if __name__ == "__main__":
    main(*sys.argv[1:])
