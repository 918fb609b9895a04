"""Windows are paired with their neighbours, and a ratio comes with an interval that holds it."""

from __future__ import annotations

import itertools
import random
import time

import pytest
from bench.server.contest import Spread, in_turns, ratio
from bench.server.load import Latencies, Window
from bench.server.on_off import Pair, Slot, alternate, pairs_of, rate_ratio, tail_ratio

WINDOW_NS = 100


def window(begin_ns: int, answered: int, latency: int = 5) -> Window:
    latencies = Latencies.of([[latency, answered]])
    return Window(begin_ns=begin_ns, answered=answered, failed=0, latencies=latencies)


def test_slots_alternate_so_that_neighbours_differ() -> None:
    switched: list[bool] = []
    slots = alternate(switched.append, count=6, seconds=0.001, settle_s=0.0)
    assert [slot.on for slot in slots] == [False, True, True, False, False, True]
    assert switched == [False, True, False, True, False]
    assert all(slot.end_ns - slot.begin_ns >= 1_000_000 for slot in slots)
    assert all(a.end_ns <= b.begin_ns for a, b in itertools.pairwise(slots))
    assert slots[-1].end_ns <= time.monotonic_ns()


def test_only_whole_windows_count() -> None:
    edges = [(False, 0, 250), (True, 250, 500), (True, 500, 700), (False, 700, 900)]
    slots = [Slot(*edge) for edge in edges]
    windows = [window(i * 100, answered) for i, answered in enumerate((8, 8, 99, 4, 4, 2, 2, 6, 6))]
    first, second = pairs_of(slots, windows, WINDOW_NS)
    assert (first.off_rate, first.on_rate) == pytest.approx((8e7, 4e7))
    assert (second.off_rate, second.on_rate) == pytest.approx((6e7, 2e7))
    assert first.off.count == 16
    assert first.on.count == 8


def test_a_slot_without_a_whole_window_is_left_out() -> None:
    slots = [Slot(False, 0, 200), Slot(True, 210, 290)]
    assert pairs_of(slots, [window(0, 5), window(200, 5)], WINDOW_NS) == []
    with pytest.raises(SystemExit, match="no window"):
        rate_ratio([], seed=1)


def pairs(seed: int, effect: float) -> list[Pair]:
    """Windows whose rates drift by far more than the effect."""
    generator = random.Random(seed)
    found = []
    for _ in range(60):
        level = generator.uniform(500, 2000)
        found.append(
            Pair(
                off_rate=level * generator.gauss(1, 0.03),
                on_rate=level * effect * generator.gauss(1, 0.03),
                off=Latencies.of([[100, 990], [1000, 10]]),
                on=Latencies.of([[100, 900], [2000, 100]]),
            )
        )
    return found


def test_the_interval_holds_a_small_effect(seed: int) -> None:
    found = rate_ratio(pairs(seed, 0.95), seed)
    assert found.low < 0.95 < found.high
    assert found.high - found.low < 0.05
    assert found == rate_ratio(pairs(seed, 0.95), seed)


def test_tails_are_of_all_windows_together(seed: int) -> None:
    found = tail_ratio(pairs(seed, 1.0), 0.99, seed)
    assert found.value == pytest.approx(20.0)
    assert tail_ratio(pairs(seed, 1.0), 0.5, seed).value == pytest.approx(1.0)


def test_ratios_are_of_the_same_round() -> None:
    spread = ratio([2.0, 20.0, 2.0], [1.0, 10.0, 1.0])
    assert spread == Spread(2.0, 2.0, 2.0)
    assert Spread.of([1.0, 2.0, 3.0, 4.0, 5.0]) == Spread(3.0, 2.0, 4.0)
    assert Spread.of([7.0]) == Spread(7.0, 7.0, 7.0)


def test_contestants_take_turns() -> None:
    calls: list[str] = []
    found = in_turns(
        {"a": lambda: calls.append("a") or 1, "b": lambda: calls.append("b") or 2}, rounds=3
    )
    assert calls == ["a", "b", "b", "a", "a", "b"]
    assert found == {"a": [1, 1, 1], "b": [2, 2, 2]}
