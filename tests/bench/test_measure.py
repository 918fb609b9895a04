"""Timings are paired by round, and contestants take turns."""

from __future__ import annotations

import gc

import pytest
from bench.measure import Timing, interleave, paired_ratio


def test_a_slow_round_of_both_leaves_the_paired_ratio() -> None:
    slow = Timing((2.0, 20.0, 2.0, 2.0))
    fast = Timing((1.0, 10.0, 1.0, 1.0))
    assert paired_ratio(slow, fast) == 2.0
    assert (slow.best, slow.median) == (2.0, 2.0)


def test_ratios_need_the_same_rounds() -> None:
    with pytest.raises(ValueError, match="zip"):
        paired_ratio(Timing((1.0,)), Timing((1.0, 2.0)))


def test_contestants_take_turns_and_the_order_alternates() -> None:
    calls: list[str] = []
    timings = interleave(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")},
        rounds=3,
        sample_seconds=0.0,
    )
    warm = 4  # two calls of each, to size the samples
    assert calls[warm:] == ["a", "b", "b", "a", "a", "b"]
    assert [len(timing.seconds) for timing in timings.values()] == [3, 3]


def test_a_sample_repeats_short_calls() -> None:
    count = 0

    def call() -> None:
        nonlocal count
        count += 1

    (timing,) = interleave({"x": call}, rounds=1, sample_seconds=0.001).values()
    assert count > 10
    assert timing.best < 0.001


def test_the_collector_runs_again_after_a_failure() -> None:
    def fail() -> None:
        if not gc.isenabled():
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interleave({"x": fail}, rounds=1)
    assert gc.isenabled()
