"""Things measured in turns, and what their times say of each other."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Timing", "interleave", "paired_ratio"]


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one thing, one entry per round, in the order of the rounds."""

    seconds: tuple[float, ...]

    @property
    def best(self) -> float:
        return min(self.seconds)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def paired_ratio(slow: Timing, fast: Timing) -> float:
    """How many times faster `fast` is: the median over the rounds of their ratio. A neighbour that
    slows a whole round down leaves it as it is."""
    pairs = zip(slow.seconds, fast.seconds, strict=True)
    return statistics.median(a / b for a, b in pairs)


@contextmanager
def _no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _calls_per_sample(call: Callable[[], object], sample_seconds: float) -> int:
    call()  # allocates, packs and plans what is done once
    started = time.perf_counter()
    call()
    taken = time.perf_counter() - started
    return max(1, math.ceil(sample_seconds / max(taken, 1e-9)))


def _sample(call: Callable[[], object], count: int) -> float:
    if count > 1:
        call()  # caches warm again, threads of the others parked, own threads awake
    started = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - started) / count


def interleave(
    contestants: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    sample_seconds: float = 0.02,
    before_round: Callable[[], None] = lambda: None,
) -> dict[str, Timing]:
    """Times the contestants in turns, in alternating order, `rounds` times each. A sample repeats a
    call until it takes about `sample_seconds`; it is the mean of those calls. `before_round` may
    measure something else that belongs to each round."""
    names: Sequence[str] = list(contestants)
    counts = {name: _calls_per_sample(contestants[name], sample_seconds) for name in names}
    samples: dict[str, list[float]] = {name: [] for name in names}
    with _no_collection():
        for index in range(rounds):
            before_round()
            for name in names if index % 2 == 0 else reversed(names):
                samples[name].append(_sample(contestants[name], counts[name]))
    return {name: Timing(tuple(seconds)) for name, seconds in samples.items()}
