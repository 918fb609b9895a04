"""Deadline feasibility over simulated histories: what cannot be answered is refused at once, what
can be is not."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from pelton.bridge.control import GateRequest, ModelGates
from pelton.errors import QueueFull
from python.control.simulated import (
    MS,
    NO_DEADLINE,
    ROWS_MAX,
    TOKENS_MAX,
    Call,
    Cost,
    Engine,
    replay,
)

# 32 rows of 16 tokens take 6 ms: 5,300 rows a second at most.
COST = Cost(fixed_ns=1 * MS, token_ns=10_000, noise=0.2)
ROWS_PER_S = 5300


def gates_of_the_engine() -> ModelGates:
    return ModelGates(batch_rows_max=ROWS_MAX, batch_tokens_max=TOKENS_MAX)


def poisson(
    load: float, count: int, make: Callable[[int, random.Random], Call], seed: int = 7
) -> list[Call]:
    """Calls of about one row at `load` times what the engine can do."""
    chance = random.Random(seed)
    now, calls = 1000 * MS, []
    for _ in range(count):
        now += int(chance.expovariate(load * ROWS_PER_S) * 1e9)
        calls.append(make(now, chance))
    return calls


def uniform(now: int, chance: random.Random) -> Call:
    return Call(now, 1, 16, now + 50 * MS)


def mixed_deadlines(now: int, chance: random.Random) -> Call:
    return Call(now, 1, 16, now + chance.choice([8, 50, 400, 10**7]) * MS)


def mixed_levels(now: int, chance: random.Random) -> Call:
    deadline = chance.choice([NO_DEADLINE, now + 20 * MS, now + 100 * MS])
    return Call(now, 1, 16, deadline, priority=chance.choice([1, 2, 2, 3, 4]))


def mixed_sizes(now: int, chance: random.Random) -> Call:
    rows = chance.choice([1, 1, 1, 1, 4])
    return Call(now, rows, rows * chance.choice([4, 16, 32]), now + chance.choice([20, 60]) * MS)


def bursts(now: int, chance: random.Random) -> Call:
    tick = now - now % (100 * MS)
    return Call(tick, 1, 16, tick + chance.choice([10, 60, 200]) * MS)


@pytest.mark.parametrize("load", [0.5, 0.95, 2.0])
@pytest.mark.parametrize("make", [uniform, mixed_deadlines, mixed_levels, mixed_sizes, bursts])
def test_what_could_be_answered_in_time_is_practically_never_refused(
    make: Callable[[int, random.Random], Call], load: float
) -> None:
    engine = Engine(COST)
    wrong: list[Call] = []

    def judge(call: Call) -> None:
        if engine.would_answer(call, call.arrival):
            wrong.append(call)

    calls = poisson(load, 1500, make)
    replay(gates_of_the_engine(), engine, calls, judge)
    assert len(wrong) <= 0.002 * len(calls)


def test_under_overload_failures_are_told_at_once_and_nothing_is_lost() -> None:
    def outcome(gates: ModelGates) -> tuple[Counter[str], list[Call]]:
        calls = poisson(4.0, 4000, uniform)
        replay(gates, Engine(COST), calls)
        return Counter(call.end for call in calls), calls

    gated, calls = outcome(gates_of_the_engine())
    refused = [call for call in calls if call.end == "deadline_exceeded"]
    assert all(call.ended == call.arrival for call in refused)
    # The engine alone lets all of them wait until they are late.
    alone, _ = outcome(ModelGates(batch_rows_max=2**40, batch_tokens_max=2**40))
    assert alone["deadline_exceeded"] == 0
    assert len(refused) > 0.3 * (alone["expired"] + alone["late"])
    assert gated["ok"] >= alone["ok"]


def test_a_model_that_was_slow_once_is_asked_again() -> None:
    gates = gates_of_the_engine()
    slow, fast = Cost(400 * MS, 0), Cost(1 * MS, 0)
    calls = [Call((1 + i) * 500 * MS, 1, 1) for i in range(30)]
    replay(gates, Engine(slow), calls)
    now = calls[-1].ended
    # It is fast now, which only a request can show: at most one a second is tried.
    calls = [Call(now + i * 100 * MS, 1, 1, now + i * 100 * MS + 50 * MS) for i in range(1, 400)]
    replay(gates, Engine(fast), calls)
    assert calls[0].end == "deadline_exceeded"
    assert [call.end for call in calls[-50:]] == ["ok"] * 50


def test_queue_full_says_when_there_is_room() -> None:
    gates = ModelGates(queue_rows_max=640, batch_rows_max=ROWS_MAX, batch_tokens_max=TOKENS_MAX)
    replay(gates, Engine(COST), poisson(2.0, 4000, lambda now, chance: Call(now, 1, 16)))
    assert gates.snapshot().refused["queue"] > 0
    gates.before(GateRequest(rows=640, tokens=640 * 16), 0)
    with pytest.raises(QueueFull, match="queue_rows_max = 640") as caught:
        gates.before(GateRequest(rows=1, tokens=16), 0)
    # 20 batches of 6 ms.
    assert caught.value.retry_after_ms is not None
    assert 90 <= caught.value.retry_after_ms <= 150
