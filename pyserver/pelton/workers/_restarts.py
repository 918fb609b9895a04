"""When a worker that ended is replaced. Pure; `now` comes in."""

from __future__ import annotations

from typing import Final

__all__ = ["START_FAILURES_MAX", "Restarts"]

#: So often in a row a worker may end before it serves.
START_FAILURES_MAX: Final = 5
_DELAY_S_MIN: Final = 0.5
_DELAY_S_MAX: Final = 30.0
# Who served so long did not end because of how it was started.
_STEADY_S: Final = 60.0


class Restarts:
    """The history of one worker's place. The first replacement comes at once; each that ends soon
    doubles the wait for the next, up to 30 s."""

    def __init__(self) -> None:
        self._soon = 0  # ends in a row that came soon
        self._failures = 0  # of those, the last ones before the worker served

    def ended(self, served_s: float | None) -> float | None:
        """Seconds to wait before the next start; None: give up. `served_s` is how long it served,
        None where it never did."""
        if served_s is None:
            self._failures += 1
            if self._failures >= START_FAILURES_MAX:
                return None
        else:
            self._failures = 0
            if served_s >= _STEADY_S:
                self._soon = 0
        delay_s = 0.0 if self._soon == 0 else _DELAY_S_MIN * 2.0 ** min(self._soon - 1, 16)
        self._soon += 1
        return min(delay_s, _DELAY_S_MAX)
