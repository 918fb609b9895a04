"""Questions that a server answers as a whole and commands that all of it carries out, whether it is
one process or several.

`Alone` is the one process. Where there are more, something above implements the same `Control`:
it asks every process `answer`s and merges them with the question's own rule, and has every process
`carry_out` a command, or none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from pelton.http._statistics import all_statistics, merge_statistics, statistics_remains
from pelton.http.state import ServerState
from pelton.metrics import ProcessSnapshot, WorkersSnapshot, merge_snapshots, snapshot_remains

__all__ = ["COMMANDS", "QUESTIONS", "Alone", "Question", "answer", "carry_out", "commands_of"]

Undo = Callable[[], None]


class Question(NamedTuple):
    """`merge(answers, missing)` makes one answer of those of all processes; `missing` counts the
    processes that should be there and gave none. `remains` is what still counts of the last answer
    of a process that has ended, `fleet` what the parent adds of its own."""

    answer: Callable[[ServerState], Any]
    merge: Callable[[Sequence[Any], int], Any]
    off_loop: bool = False
    remains: Callable[[Any], Any] | None = None
    fleet: Callable[[WorkersSnapshot], Any] | None = None


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
    }
)


def _register_region(state: ServerState, payload: Any) -> Undo:
    regions = state.shared_regions
    regions.register(*payload)
    return lambda: regions.unregister(payload[0])


def _unregister_region(state: ServerState, payload: Any) -> Undo:
    """One that is not registered is no error: clients clear up with this."""
    return state.shared_regions.remove(None if payload is None else [payload])


#: Every command, by name: carries it out and says how to undo it. Raises of the error tree.
COMMANDS: Final[Mapping[str, Callable[[ServerState, Any], Undo]]] = MappingProxyType(
    {"register_region": _register_region, "unregister_region": _unregister_region}
)


def commands_of(state: ServerState) -> list[tuple[str, Any]]:
    """The commands that bring a new process to where this one is."""
    if state.regions is None:
        return []
    return [
        ("register_region", (row["name"], row["key"], row["offset"], row["byte_size"]))
        for row in state.regions.status()
    ]


async def answer(state: ServerState, name: str) -> Any:
    """This process's own answer to the question of that name."""
    question = QUESTIONS[name]
    if not question.off_loop:
        return question.answer(state)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(state.workers, question.answer, state)


def carry_out(state: ServerState, command: str, payload: Any) -> Undo:
    """In this process. Raises what the command raises."""
    return COMMANDS[command](state, payload)


class Alone:
    """A server of one process."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    async def collect(self, question: str) -> Any:
        """See `Control`."""
        return QUESTIONS[question].merge([await answer(self._state, question)], 0)

    async def apply(self, command: str, payload: Any) -> None:
        """See `Control`."""
        carry_out(self._state, command, payload)
