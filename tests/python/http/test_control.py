"""Questions and commands of a server as a whole, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import fields
from multiprocessing import shared_memory
from typing import Any

import pytest

from pelton.errors import AlreadyExists, Unimplemented
from pelton.http import ServerState
from pelton.http._statistics import (
    Duration,
    ModelStatistics,
    merge_statistics,
    statistics_remains,
)
from pelton.http.control import QUESTIONS, Alone, carry_out, commands_of
from pelton.settings import Settings


@pytest.fixture
def state(toy_models):
    state = ServerState(toy_models, Settings(threads=2, cache_dir="x", shared_memory="on"))
    yield state
    state.close()


@pytest.fixture
def memory():
    found = shared_memory.SharedMemory(create=True, size=64)
    yield found
    found.close()
    found.unlink()


def do(state: ServerState, command: str, payload: Any) -> Callable[[], None]:
    """Carries a command out; returns what undoes it."""
    return asyncio.run(carry_out(state, command, payload)).undo


def names(state: ServerState) -> list[str]:
    return [payload[0] for _, payload in commands_of(state)]


def test_alone_answers_for_itself(state: ServerState) -> None:
    async def main() -> None:
        alone = Alone(state)
        assert await alone.collect("ready") is True
        assert (await alone.collect("snapshot")).connections == 0
        assert [s.name for s in await alone.collect("statistics")] == ["tiny", "plus_one", "two"]
        state.drain()
        assert await alone.collect("ready") is False

    asyncio.run(main())


def test_ready_is_false_where_a_process_is_missing() -> None:
    merge = QUESTIONS["ready"].merge
    assert merge([True, True], 0)
    assert not merge([True, True], 1)
    assert not merge([True, False], 0)


def test_commands_are_undone(state: ServerState, memory) -> None:
    one, two = ((name, memory.name, 0, 64) for name in ("one", "two"))
    undo = do(state, "register_region", one)
    assert names(state) == ["one"]
    with pytest.raises(AlreadyExists):
        do(state, "register_region", one)
    undo()
    assert names(state) == []
    do(state, "register_region", one)
    do(state, "register_region", two)
    undo = do(state, "unregister_region", "one")
    assert names(state) == ["two"]
    undo()
    assert sorted(names(state)) == ["one", "two"]
    undo = do(state, "unregister_region", None)
    assert names(state) == []
    undo()
    assert sorted(names(state)) == ["one", "two"]
    do(state, "unregister_region", "none")()
    assert sorted(names(state)) == ["one", "two"]


def test_commands_bring_a_new_process_to_where_another_is(state, toy_models, memory) -> None:
    do(state, "register_region", ("r", memory.name, 8, 16))
    fresh = ServerState(toy_models, state.settings)
    try:
        for command, payload in commands_of(state):
            do(fresh, command, payload)
        assert fresh.regions.status() == state.regions.status()
    finally:
        fresh.close()


def test_there_are_no_commands_where_shared_memory_is_off(toy_models) -> None:
    state = ServerState(toy_models, Settings(threads=2, cache_dir="x"))
    try:
        assert commands_of(state) == []
        with pytest.raises(Unimplemented):
            do(state, "register_region", ("r", "k", 0, 1))
    finally:
        state.close()


def statistics(factor: int) -> ModelStatistics:
    """Every number differs from every other and is of `factor`."""
    found = ModelStatistics("m", "1")
    for place, field in enumerate(fields(found), start=1):
        value = getattr(found, field.name)
        if isinstance(value, Duration):
            value.add(factor * place, factor * place * 100)
        elif isinstance(value, int):
            setattr(found, field.name, factor * place)
    found.batch_sizes = {1: Duration(factor, factor), factor: Duration(factor, factor)}
    return found


def test_statistics_of_processes_are_summed() -> None:
    (merged,) = merge_statistics([[statistics(2)], [statistics(3)]])
    wanted = statistics(5)
    wanted.last_inference_ms = statistics(3).last_inference_ms
    wanted.batch_sizes = {1: Duration(5, 5), 2: Duration(2, 2), 3: Duration(3, 3)}
    assert merged == wanted


def test_of_a_process_that_ended_its_memory_is_free() -> None:
    (remains,) = statistics_remains([statistics(2)])
    assert remains.memory_bytes == 0
    assert remains.success == statistics(2).success


def test_models_keep_apart() -> None:
    other = ModelStatistics("n", "1", inference_count=1)
    merged = merge_statistics([[statistics(2), other], [other]])
    assert [(s.name, s.inference_count) for s in merged] == [
        ("m", statistics(2).inference_count),
        ("n", 2),
    ]
