"""A progress bar on a terminal; nothing where stderr is piped."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["progress_bar"]

_WIDTH: Final = 30
_PERIOD_S: Final = 0.1


def _line(what: str, share: float, elapsed_s: float) -> str:
    filled = round(_WIDTH * min(max(share, 0.0), 1.0))
    bar = "#" * filled + "-" * (_WIDTH - filled)
    return f"\r{what} [{bar}] {100 * min(share, 1.0):3.0f} % {elapsed_s:5.1f} s"


@contextmanager
def progress_bar(what: str, share: Callable[[], float]) -> Iterator[None]:
    """While the block runs, show which share of it (0 to 1) is done, as `share()` says. The bar is
    wiped at the end."""
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    started = time.monotonic()

    def draw() -> None:
        while not done.wait(_PERIOD_S):
            sys.stderr.write(_line(what, share(), time.monotonic() - started))
            sys.stderr.flush()
        sys.stderr.write("\r\033[K")
        sys.stderr.flush()

    thread = threading.Thread(target=draw, name="pelton-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
