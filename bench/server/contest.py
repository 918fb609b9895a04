"""Servers that are loaded in turns, and what their figures say of each other."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.server.load import LoadPlan, run_load
from bench.server.processes import ServerProcess

__all__ = ["Contestant", "Sample", "Spread", "contest", "in_turns", "ratio"]

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and the quartiles beside it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        if len(values) < 2:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def __str__(self) -> str:
        return f"{self.median:.2f}x [{self.low:.2f}, {self.high:.2f}]"


def ratio(over: Sequence[float], under: Sequence[float]) -> Spread:
    """Of two things measured in the same rounds: each round's own ratio, so that a neighbour who
    slows a whole round down does not count."""
    return Spread.of([a / b for a, b in zip(over, under, strict=True)])


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server, and a file of requests for it."""

    server: ServerProcess
    requests: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One server in one round; `cpu_us` is the server's per request, all its threads."""

    cpu_us: float
    rate: float
    p50_us: float
    p99_us: float
    client_share: float


def in_turns(
    contestants: Mapping[str, Callable[[], _Found]], rounds: int
) -> dict[str, list[_Found]]:
    """What each gives, once per round, in alternating order."""
    names = list(contestants)
    found: dict[str, list[_Found]] = {name: [] for name in names}
    for index in range(rounds):
        for name in names if index % 2 == 0 else reversed(names):
            found[name].append(contestants[name]())
    return found


def contest(
    program: Path,
    contestants: Mapping[str, Contestant],
    *,
    connections: int,
    rounds: int,
    seconds: float,
) -> dict[str, list[Sample]]:
    """Closed loops in turns, after one of each that warms up. Exits where a request fails."""

    def sampling(name: str, contestant: Contestant) -> Callable[[], Sample]:
        return lambda: sample(program, name, contestant, connections, seconds)

    calls = {name: sampling(name, contestant) for name, contestant in contestants.items()}
    for call in calls.values():
        call()
    return in_turns(calls, rounds)


def sample(
    program: Path, name: str, contestant: Contestant, connections: int, seconds: float
) -> Sample:
    server = contestant.server
    before = server.cpu_ns()
    result = run_load(
        program,
        LoadPlan(
            port=server.port,
            requests=contestant.requests,
            connections=connections,
            seconds=seconds,
        ),
    )
    cpu_ns = server.cpu_ns() - before
    result.check(name)
    return Sample(
        cpu_us=cpu_ns / 1e3 / result.ok,
        rate=result.rate,
        p50_us=result.percentile_us(0.5),
        p99_us=result.percentile_us(0.99),
        client_share=result.client_share,
    )
