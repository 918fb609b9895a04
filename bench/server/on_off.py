"""What a disturbance costs: one load without end, the disturbance on and off in turns.

A figure of a few per cent is smaller than the noise between runs. So the same load runs through all
of it, windows with and without the disturbance alternate, each window is compared with its
neighbour, and the median of those ratios comes with an interval.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from bench.server.load import Latencies, RunningLoad, Window

__all__ = [
    "Interval",
    "Pair",
    "Slot",
    "alternate",
    "measure",
    "pairs_of",
    "rate_ratio",
    "tail_ratio",
]

_RESAMPLES: Final = 1000
_COVERED: Final = 0.95

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Interval:
    """A ratio and where it lies with 95 % (bootstrap over the pairs of windows)."""

    value: float
    low: float
    high: float

    @property
    def ends(self) -> tuple[float, float]:
        return self.low, self.high

    def __str__(self) -> str:
        return f"{self.value:.2f}x [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True, slots=True)
class Slot:
    """A stretch of time in which the disturbance was on, or off."""

    on: bool
    begin_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Pair:
    """Neighbours: what was counted in each, per second and as latencies."""

    off_rate: float
    on_rate: float
    off: Latencies
    on: Latencies


def alternate(
    switch: Callable[[bool], None], *, count: int, seconds: float, settle_s: float
) -> list[Slot]:
    """`count` slots of `seconds` each: off and on, on and off, and so on. `switch` returns when the
    disturbance is on or off; `settle_s` more pass before a slot begins."""
    slots: list[Slot] = []
    for index in range(count):
        on = index % 4 in (1, 2)
        if index == 0 or on != slots[-1].on:
            switch(on)
            time.sleep(settle_s)
        begin = time.monotonic_ns()
        time.sleep(seconds)
        slots.append(Slot(on, begin, time.monotonic_ns()))
    switch(False)
    return slots


def measure(
    load: RunningLoad,
    switch: Callable[[bool], None],
    *,
    count: int,
    seconds: float,
    settle_s: float,
    window_ns: int,
) -> tuple[list[Pair], int]:
    """The pairs of windows, and the requests that failed in them."""
    slots = alternate(switch, count=count, seconds=seconds, settle_s=settle_s)
    result = load.stop()
    windows = [window for slot in slots for window in _within(slot, result.windows, window_ns)]
    return pairs_of(slots, result.windows, window_ns), sum(w.failed for w in windows)


def _within(slot: Slot, windows: Sequence[Window], window_ns: int) -> list[Window]:
    return [
        window
        for window in windows
        if slot.begin_ns <= window.begin_ns and window.begin_ns + window_ns <= slot.end_ns
    ]


def pairs_of(slots: Sequence[Slot], windows: Sequence[Window], window_ns: int) -> list[Pair]:
    """Each two slots that follow one another, one of them on; windows that lie in no slot whole are
    left out."""
    pairs = []
    for first, second in zip(slots[::2], slots[1::2], strict=False):
        off, on = (first, second) if second.on else (second, first)
        of_off, of_on = (_within(slot, windows, window_ns) for slot in (off, on))
        if of_off and of_on:
            pairs.append(
                Pair(
                    off_rate=_rate(of_off, window_ns),
                    on_rate=_rate(of_on, window_ns),
                    off=Latencies.merged(window.latencies for window in of_off),
                    on=Latencies.merged(window.latencies for window in of_on),
                )
            )
    return pairs


def _rate(windows: Sequence[Window], window_ns: int) -> float:
    return sum(window.answered for window in windows) / (len(windows) * window_ns * 1e-9)


def rate_ratio(pairs: Sequence[Pair], seed: int) -> Interval:
    """Requests per second, on over off: the median of the pairs' ratios."""
    ratios = [pair.on_rate / pair.off_rate for pair in pairs]
    return _bootstrap(ratios, statistics.median, seed)


def tail_ratio(pairs: Sequence[Pair], share: float, seed: int) -> Interval:
    """A percentile of the latencies of all windows together, on over off."""

    def ratio(chosen: Sequence[Pair]) -> float:
        on = Latencies.merged(pair.on for pair in chosen)
        off = Latencies.merged(pair.off for pair in chosen)
        return on.percentile_us(share) / off.percentile_us(share)

    return _bootstrap(list(pairs), ratio, seed)


def _bootstrap(
    items: Sequence[_Item], statistic: Callable[[Sequence[_Item]], float], seed: int
) -> Interval:
    if not items:
        raise SystemExit("bench: no window lies whole in a slot; are the windows too long?")
    generator = random.Random(seed)
    found = sorted(statistic(generator.choices(items, k=len(items))) for _ in range(_RESAMPLES))
    edge = (1 - _COVERED) / 2
    low, high = found[int(edge * _RESAMPLES)], found[int((1 - edge) * _RESAMPLES) - 1]
    return Interval(statistic(items), low, high)
