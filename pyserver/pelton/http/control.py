"""Questions that a server answers as a whole and commands that all of it carries out, whether it is
one process or several.

`Alone` is the one process. Where there are more, something above implements the same `Control`:
it asks every process `answer`s and merges them with the question's own rule, and has every process
`carry_out` a command, or none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from pelton.errors import Unimplemented
from pelton.http._statistics import all_statistics, merge_statistics, statistics_remains
from pelton.http.loading import Done, IndexRow, Loading, merge_index
from pelton.http.state import ServerState, check_name
from pelton.metrics import ProcessSnapshot, WorkersSnapshot, merge_snapshots, snapshot_remains

__all__ = [
    "COMMANDS",
    "QUESTIONS",
    "Alone",
    "Command",
    "Done",
    "Question",
    "answer",
    "carry_out",
    "commands_of",
]


class Question(NamedTuple):
    """`merge(answers, missing)` makes one answer of those of all processes; `missing` counts the
    processes that should be there and gave none. `remains` is what still counts of the last answer
    of a process that has ended, `fleet` what the parent adds of its own."""

    answer: Callable[[ServerState], Any]
    merge: Callable[[Sequence[Any], int], Any]
    off_loop: bool = False
    remains: Callable[[Any], Any] | None = None
    fleet: Callable[[WorkersSnapshot], Any] | None = None


def _index(state: ServerState) -> list[IndexRow]:
    if state.loading is not None:
        return state.loading.index()
    return [IndexRow(name, model.version, "READY", "") for name, model in state.table.all()]


#: Every question, by name.
QUESTIONS: Final[Mapping[str, Question]] = MappingProxyType(
    {
        "ready": Question(
            lambda state: state.ready, lambda answers, missing: not missing and all(answers)
        ),
        "snapshot": Question(
            ServerState.snapshot,
            lambda answers, _: merge_snapshots(answers),
            remains=snapshot_remains,
            fleet=lambda workers: ProcessSnapshot(models=(), workers=workers),
        ),
        "statistics": Question(
            all_statistics,
            lambda answers, _: merge_statistics(answers),
            off_loop=True,
            remains=statistics_remains,
        ),
        "index": Question(_index, lambda answers, _: merge_index(answers)),
    }
)


def _register_region(state: ServerState, payload: Any) -> Done:
    regions = state.shared_regions
    regions.register(*payload)
    return Done(lambda: regions.unregister(payload[0]))


def _unregister_region(state: ServerState, payload: Any) -> Done:
    """One that is not registered is no error: clients clear up with this."""
    return Done(state.shared_regions.remove(None if payload is None else [payload]))


def _loading(state: ServerState) -> Loading:
    """Raises `Unimplemented` where there is no repository."""
    if state.loading is None:
        raise Unimplemented("there is no repository; the setting repository names one")
    return state.loading


async def _load_model(state: ServerState, payload: Any) -> Done:
    check_name(payload.name)
    return await _loading(state).load(payload)


def _unload_model(state: ServerState, payload: Any) -> Done:
    return _loading(state).unload(payload)


def _note_model(state: ServerState, payload: Any) -> Done:
    return _loading(state).note(payload)


class Command(NamedTuple):
    """`carry_out` says how to undo what it did and how to keep it; it raises of the error tree.
    `seconds_max` is how long it may take in one process."""

    carry_out: Callable[[ServerState, Any], Done | Awaitable[Done]]
    seconds_max: float = 5.0


#: Every command, by name.
COMMANDS: Final[Mapping[str, Command]] = MappingProxyType(
    {
        "register_region": Command(_register_region),
        "unregister_region": Command(_unregister_region),
        "load_model": Command(_load_model, 600.0),
        "unload_model": Command(_unload_model),
        "note_model": Command(_note_model),
    }
)


def commands_of(state: ServerState) -> list[tuple[str, Any]]:
    """The commands that bring a new process to where this one is."""
    regions = [] if state.regions is None else state.regions.status()
    loading = [] if state.loading is None else state.loading.commands()
    return [
        *(
            ("register_region", (row["name"], row["key"], row["offset"], row["byte_size"]))
            for row in regions
        ),
        *loading,
    ]


async def answer(state: ServerState, name: str) -> Any:
    """This process's own answer to the question of that name."""
    question = QUESTIONS[name]
    if not question.off_loop:
        return question.answer(state)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(state.workers, question.answer, state)


async def carry_out(state: ServerState, command: str, payload: Any) -> Done:
    """In this process. Raises what the command raises."""
    done = COMMANDS[command].carry_out(state, payload)
    return done if isinstance(done, Done) else await done


class Alone:
    """A server of one process."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._applying = asyncio.Lock()

    async def collect(self, question: str) -> Any:
        """See `Control`."""
        return QUESTIONS[question].merge([await answer(self._state, question)], 0)

    async def apply(self, command: str, payload: Any) -> None:
        """See `Control`."""
        async with self._applying:
            (await carry_out(self._state, command, payload)).keep()
