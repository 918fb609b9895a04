"""Latency under a load that does not wait, and what disturbs it."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import numpy as np

from bench.report import Figure, Section, table
from bench.server.contest import Contestant, contest, in_turns, ratio
from bench.server.load import (
    IdleConnections,
    Latencies,
    LoadPlan,
    LoadResult,
    RunningLoad,
    run_load,
)
from bench.server.models import timed_plan
from bench.server.on_off import Interval, Pair, measure, rate_ratio, tail_ratio
from bench.server.processes import ServerProcess, free_port
from bench.server.requests import oip_request
from bench.server.stage import ServerOptions, Stage, load_peer

__all__ = ["run_hog", "run_idle", "run_mixed", "run_open", "run_stall"]

_HERE: Final = Path(__file__).resolve().parent
_SHARES: Final = (0.5, 0.8, 0.95)
_OPEN_CONNECTIONS: Final = 256
_WINDOW_NS: Final = 100_000_000
#: What the load generator's windows allow for; see kWindowsMax there.
_ON_OFF_S_MAX: Final = 400.0
_IDLE_BYTES_MAX: Final = 8192
_SLOW_S: Final = 0.1
_FAST_S: Final = 50e-6
_SLOW_ROWS: Final = 16
_SLOW_WIDTH: Final = 768
_FAST_WIDTH: Final = 256


def capacity(options: ServerOptions, contestant: Contestant, connections: int = 64) -> float:
    """Requests per second of the closed loop: the median of three."""
    found = contest(
        options.program,
        {"server": contestant},
        connections=connections,
        rounds=1 if options.tiny else 3,
        seconds=options.seconds,
    )
    return statistics.median(sample.rate for sample in found["server"])


def run_open(stage: Stage) -> Section:
    """Constant arrivals at shares of what each server can take, both at the same rates."""
    options = stage.options
    section = Section(f"Server: open loop, {options.isa}")
    contestants = {"pelton": stage.pelton_add()}
    if not options.tiny:
        contestants["mosec"] = stage.peer(load_peer("mosec"), "add")
    limits = {name: capacity(options, contestant) for name, contestant in contestants.items()}
    rows: list[tuple[str, ...]] = []
    for of, limit in limits.items():
        for share in _SHARES:
            calls = {
                name: _open_call(options, contestant, share * limit)
                for name, contestant in contestants.items()
            }
            found = in_turns(calls, options.rounds)
            shown = f"{share:.0%} of {of}'s {limit:,.0f}/s"
            rows += [_open_row(shown, name, results) for name, results in found.items()]
            if "mosec" in found:
                section.figures.append(_open_figure(shown, found))
    header = ("arrivals", "server", "p50 us", "p99 us", "p99.9 us", "failed", "client's CPU")
    section.add(
        "Latencies count from the moment at which a request was due; one that was refused, lost or "
        "never sent counts as answered at the end. Percentiles of all rounds together; a server "
        "below the rate of arrivals falls behind without end, and its percentiles say how long it "
        "was asked to. The figures are medians over the rounds of each round's own ratio.",
        table(header, rows),
    )
    return section


def _open_call(
    options: ServerOptions, contestant: Contestant, rate: float
) -> Callable[[], LoadResult]:
    plan = LoadPlan(
        port=contestant.server.port,
        requests=contestant.requests,
        connections=_OPEN_CONNECTIONS,
        seconds=options.seconds,
        rate=round(rate, 3),
        drain_seconds=1,
    )
    return lambda: run_load(options.program, plan)


def _open_row(shown: str, name: str, results: Sequence[LoadResult]) -> tuple[str, ...]:
    merged = Latencies.merged(result.latencies for result in results)
    failed = sum(result.failed for result in results)
    started = sum(result.counts["started"] + result.counts["unsent"] for result in results)
    percentiles = [f"{merged.percentile_us(share):,.0f}" for share in (0.5, 0.99, 0.999)]
    client = statistics.median(result.client_share for result in results)
    return (shown, name, *percentiles, f"{failed / started:.1%}", f"{client:.0%}")


def _open_figure(shown: str, found: dict[str, list[LoadResult]]) -> Figure:
    tails = {name: [r.percentile_us(0.99) for r in results] for name, results in found.items()}
    spread = ratio(tails["pelton"], tails["mosec"])
    return Figure(
        what=f"open loop, {shown}: p99",
        against="mosec at the same rate",
        value=spread.median,
        shown=f"{spread} ({statistics.median(tails['pelton']):,.0f} us)",
        reach=0.5,
        reach_shown="≤ 0.5x",
        lower=True,
    )


def _on_off(
    options: ServerOptions,
    plan: LoadPlan,
    switch: Callable[[bool], None],
    settle_s: float,
) -> list[Pair]:
    """The load of `plan` with the disturbance off and on in turns."""
    with RunningLoad(options.program, plan) as load:
        pairs, failed = measure(
            load,
            switch,
            count=options.windows,
            seconds=options.window_s,
            settle_s=settle_s,
            window_ns=_WINDOW_NS,
        )
    if failed:
        print(f"bench: {failed} requests failed within the windows", file=sys.stderr)
    return pairs


def _steady(contestant: Contestant, connections: int, rate: float | None = None) -> LoadPlan:
    return LoadPlan(
        port=contestant.server.port,
        requests=contestant.requests,
        connections=connections,
        seconds=_ON_OFF_S_MAX,
        rate=rate,
        window_ms=_WINDOW_NS / 1e6,
        drain_seconds=1,
    )


class _IdleSwitch:
    """Many idle connections, there or not; their cost when they were there first."""

    def __init__(self, stage: Stage, contestant: Contestant) -> None:
        self._stage = stage
        self._contestant = contestant
        self._open = ExitStack()
        self._idle: IdleConnections | None = None
        self.bytes_each = 0.0
        self.closed_by_server = 0

    def __call__(self, on: bool) -> None:
        self._open.close()
        if self._idle is not None:
            self.closed_by_server += self._idle.closed_by_server
            self._idle = None
        if not on:
            return
        options, server = self._stage.options, self._contestant.server
        before = server.resident_bytes()
        idle = IdleConnections(
            options.program, server.port, options.idle_connections, self._contestant.requests
        )
        self._idle = self._open.enter_context(idle)
        if self.bytes_each == 0.0:
            self.bytes_each = (server.resident_bytes() - before) / options.idle_connections


def run_idle(stage: Stage) -> Section:
    """Ten thousand connections that answered once and are kept."""
    options = stage.options
    contestant = stage.pelton_add()
    limit = capacity(options, contestant)
    switch = _IdleSwitch(stage, contestant)
    pairs = _on_off(options, _steady(contestant, 64, round(limit / 2, 3)), switch, 0.3)
    tail = tail_ratio(pairs, 0.99, options.seed)
    cost = _idle_cost(switch, contestant.server, options)
    section = Section(f"Server: idle connections, {options.isa}")
    count = f"{options.idle_connections:,}"
    section.figures = [
        Figure(
            what=f"{count} idle connections: resident memory of each",
            against="–",
            value=switch.bytes_each,
            shown=f"{switch.bytes_each / 1024:.1f} KB",
            reach=_IDLE_BYTES_MAX,
            reach_shown="≤ 8 KB",
            lower=True,
        ),
        _tail_figure(
            f"{count} idle connections: p99 of others at half of capacity", tail, 1.05, cost
        ),
    ]
    section.add(f"Of the {count} idle connections: {cost}.")
    if switch.closed_by_server:
        section.add(f"The server closed {switch.closed_by_server} of the idle connections.")
    section.add(_on_off_table(pairs))
    return section


def _idle_cost(switch: _IdleSwitch, server: ServerProcess, options: ServerOptions) -> str:
    """What they make the server do by themselves: a request to another connection is never asked
    which others there are, so this is all that can come between."""
    spent = []
    for on in (False, True):
        switch(on)
        time.sleep(options.window_s)  # what opening and closing left to be done
        begin, before = time.perf_counter(), server.cpu_ns()
        time.sleep(6 * options.window_s)
        spent.append((server.cpu_ns() - before) / 1e9 / (time.perf_counter() - begin))
    switch(False)
    return f"without load they cost {1e6 * max(0.0, spent[1] - spent[0]):,.0f} us of CPU a second"


def _tail_figure(what: str, tail: Interval, reach: float, cost: str = "") -> Figure:
    return Figure(
        what=what,
        against="without, on/off",
        value=tail.value,
        shown=str(tail),
        interval=tail.ends,
        cost=cost,
        reach=reach,
        reach_shown=f"≤ {reach}x",
        lower=True,
    )


def _on_off_table(pairs: Sequence[Pair]) -> str:
    rows = []
    for name, latencies, rates in (
        ("off", [pair.off for pair in pairs], [pair.off_rate for pair in pairs]),
        ("on", [pair.on for pair in pairs], [pair.on_rate for pair in pairs]),
    ):
        merged = Latencies.merged(latencies)
        percentiles = [f"{merged.percentile_us(share):,.0f}" for share in (0.5, 0.99, 0.999)]
        rows.append((name, str(len(pairs)), f"{statistics.median(rates):,.0f}", *percentiles))
    return table(("", "windows", "requests/s", "p50 us", "p99 us", "p99.9 us"), rows)


def _disturbed(stage: Stage, name: str, title: str, what: str) -> Section:
    """One of the disturbances of hog_server.py, under a closed loop."""
    options = stage.options
    request = oip_request("add", "x", stage.add_row[None], "binary")
    port = free_port()
    words = [str(_HERE / "hog_server.py"), str(stage.add_plan), str(port), str(options.threads)]
    server = stage.start("hog_server", [sys.executable, *words], port=port, probe=request)
    contestant = Contestant(server, stage.requests("hog", request))
    capacity(options, contestant, 16)  # warms up

    def switch(on: bool) -> None:
        server.tell(f"{name} {'on' if on else 'off'}")

    pairs = _on_off(options, _steady(contestant, 16), switch, 0.1)
    kept = rate_ratio(pairs, options.seed)
    section = Section(f"Server: {title}, {options.isa}")
    section.figures.append(
        Figure(
            what=f"{what}: requests/s, 16 connections",
            against="without, on/off",
            value=kept.value,
            shown=str(kept),
            interval=kept.ends,
            reach=0.65,
            reach_shown="≥ 0.65x",
        )
    )
    section.add(_on_off_table(pairs))
    return section


def run_hog(stage: Stage) -> Section:
    return _disturbed(
        stage, "hog", "a computing thread", "a Python thread of the serving process that computes"
    )


def run_stall(stage: Stage) -> Section:
    return _disturbed(
        stage, "stall", "stalls of the loop", "a 5 ms stall of the event loop, ten times a second"
    )


class _SlowSwitch:
    """Two clients that keep the slow model busy, there or not."""

    def __init__(self, stage: Stage, contestant: Contestant) -> None:
        self._program = stage.options.program
        self._plan = LoadPlan(
            port=contestant.server.port,
            requests=contestant.requests,
            connections=2,
            seconds=_ON_OFF_S_MAX,
            drain_seconds=0,
        )
        self._running = ExitStack()

    def __call__(self, on: bool) -> None:
        self._running.close()
        if on:
            self._running.enter_context(RunningLoad(self._program, self._plan))


def run_mixed(stage: Stage) -> Section:
    """A slow model, always busy, beside a fast one at a fifth of its own capacity."""
    options = stage.options
    slow_s = _SLOW_S if not options.tiny else 0.01
    plans = {
        "slow": timed_plan(
            stage.folder / "slow.plan",
            rows=_SLOW_ROWS,
            width=_SLOW_WIDTH,
            seconds=slow_s,
            threads=options.threads,
        ),
        "fast": timed_plan(
            stage.folder / "fast.plan",
            rows=1,
            width=_FAST_WIDTH,
            seconds=_FAST_S,
            threads=options.threads,
        ),
    }
    requests = {
        name: oip_request(name, "x", np.ones((rows, width), np.float32), "binary")
        for name, rows, width in (
            ("slow", _SLOW_ROWS, _SLOW_WIDTH),
            ("fast", 1, _FAST_WIDTH),
        )
    }
    paths = {name: plan.path for name, plan in plans.items()}
    server = stage.pelton(paths, requests["fast"])
    slow, fast = (
        Contestant(server, stage.requests(name, requests[name])) for name in ("slow", "fast")
    )
    limit = capacity(options, fast)
    steady = _steady(fast, 64, round(limit / 5, 3))
    pairs = _on_off(options, steady, _SlowSwitch(stage, slow), 0.3)
    tail = tail_ratio(pairs, 0.99, options.seed)
    section = Section(f"Server: a slow model beside a fast one, {options.isa}")
    what = (
        f"a 50 us model at 20 % of its capacity ({limit / 5:,.0f}/s) beside a 100 ms model that "
        f"is always busy, {options.threads} threads: its p99"
    )
    section.figures.append(_tail_figure(what, tail, 2.0))
    section.add(
        "Called alone in one process the slow model takes "
        f"{1e3 * plans['slow'].seconds:.0f} ms, the fast one {1e6 * plans['fast'].seconds:.0f} us."
    )
    section.add(_on_off_table(pairs))
    return section
