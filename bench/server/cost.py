"""What a request costs a server: the no-op model, against the floor, formats and other servers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bench.report import Figure, Section, table
from bench.server.contest import Contestant, Sample, Spread, contest, ratio
from bench.server.stage import Stage, load_peer

__all__ = [
    "run_floor",
    "run_formats",
    "run_peers",
    "run_single",
    "sample_rows",
    "sample_table",
]

_WHAT: Final = "x + 1 on 16 floats, OIP binary"
#: Triton with a C++ backend to the floor at 64 connections, CPU per request, measured on another
#: machine (Zen 4, wrk as client): what stands in where its server binary does not start.
_TRITON_TO_FLOOR: Final = 5.0
_CLIENT_SHARE_MAX: Final = 0.9

Samples = dict[str, list[Sample]]


def _contest(stage: Stage, contestants: Mapping[str, Contestant], connections: int) -> Samples:
    options = stage.options
    return contest(
        options.program,
        contestants,
        connections=connections,
        rounds=options.rounds,
        seconds=options.seconds,
    )


def _column(samples: Sequence[Sample], read: Callable[[Sample], float]) -> list[float]:
    return [read(sample) for sample in samples]


def _cpu(samples: Sequence[Sample]) -> list[float]:
    return _column(samples, lambda sample: sample.cpu_us)


def sample_rows(found: Samples, connections: int) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, samples in found.items():
        medians = [
            Spread.of(_column(samples, read)).median
            for read in (
                lambda sample: sample.rate,
                lambda sample: sample.cpu_us,
                lambda sample: sample.p50_us,
                lambda sample: sample.p99_us,
                lambda sample: sample.client_share,
            )
        ]
        rate, cpu_us, p50_us, p99_us, client = medians
        client_shown = f"{client:.0%}" + (" (the limit)" if client > _CLIENT_SHARE_MAX else "")
        rows.append(
            (
                str(connections),
                name,
                f"{rate:,.0f}",
                f"{cpu_us:.1f}",
                f"{p50_us:,.0f}",
                f"{p99_us:,.0f}",
                client_shown,
            )
        )
    return rows


def sample_table(rows: Sequence[tuple[str, ...]]) -> str:
    header = ("connections", "server", "requests/s", "CPU us", "p50 us", "p99 us", "client's CPU")
    return table(header, rows)


def run_floor(stage: Stage) -> Section:
    """Server CPU per request of the no-op model against a fixed reply."""
    section = Section(f"Server: CPU per request to the floor, {stage.options.isa}")
    contestants = {"floor": stage.floor(), "pelton": stage.pelton_add()}
    rows: list[tuple[str, ...]] = []
    for connections, reach in ((64, 1.3), (16, 1.5)):
        found = _contest(stage, contestants, connections)
        rows += sample_rows(found, connections)
        spread = ratio(_cpu(found["pelton"]), _cpu(found["floor"]))
        cpu = Spread.of(_cpu(found["pelton"])).median
        section.figures.append(
            Figure(
                what=f"{_WHAT}: server CPU per request, {connections} connections",
                against="uvloop + httptools, fixed reply",
                value=spread.median,
                shown=f"{spread} ({cpu:.1f} us)",
                reach=reach,
                reach_shown=f"≤ {reach}x",
                lower=True,
            )
        )
    section.add(sample_table(rows))
    return section


def run_single(stage: Stage) -> Section:
    """One connection: how long a request takes."""
    section = Section(f"Server: one connection, {stage.options.isa}")
    contestants = {"floor": stage.floor(), "pelton": stage.pelton_add()}
    found = _contest(stage, contestants, 1)

    def p50(samples: Sequence[Sample]) -> list[float]:
        return _column(samples, lambda sample: sample.p50_us)

    spread = ratio(p50(found["pelton"]), p50(found["floor"]))
    section.figures.append(
        Figure(
            what=f"{_WHAT}: one connection, p50",
            against="uvloop + httptools, fixed reply",
            value=spread.median,
            shown=f"{spread} ({Spread.of(p50(found['pelton'])).median:.0f} us)",
            reach=2.5,
            reach_shown="≤ 2.5x",
            lower=True,
        )
    )
    section.add(sample_table(sample_rows(found, 1)))
    return section


def run_formats(stage: Stage) -> Section:
    """The same tensors in JSON and msgpack."""
    section = Section(f"Server: formats, 64 connections, {stage.options.isa}")
    binary = stage.pelton_add()
    contestants = {"binary": binary}
    for form in ("json", "msgpack"):
        contestants[form] = stage.pelton_add(form, binary.server)
    found = _contest(stage, contestants, 64)
    for form, reach in (("json", 1.5), ("msgpack", 1.1)):
        spread = ratio(_cpu(found[form]), _cpu(found["binary"]))
        section.figures.append(
            Figure(
                what=f"x + 1 on 16 floats, {form}: server CPU per request, 64 connections",
                against="OIP binary",
                value=spread.median,
                shown=f"{spread} ({Spread.of(_cpu(found[form])).median:.1f} us)",
                reach=reach,
                reach_shown=f"≤ {reach}x",
                lower=True,
            )
        )
    section.add(sample_table(sample_rows(found, 64)))
    return section


def _cheapest(sample: Sample) -> float:
    return -sample.cpu_us


def run_peers(stage: Stage) -> Section:
    """Requests per CPU second against other servers."""
    section = Section(f"Server: requests per CPU second, {stage.options.isa}")
    contestants = {"floor": stage.floor(), "pelton": stage.pelton_add()}
    contestants["mosec"] = stage.peer(load_peer("mosec"), "add", worth=_cheapest)
    try:
        contestants["triton"] = stage.peer(load_peer("triton"), "add", worth=_cheapest)
    except SystemExit as reason:
        print(f"bench: Triton is left out: {reason}", file=sys.stderr)
        section.add(f"Triton's server binary did not start here: `{str(reason)[:300]}`")
    rows: list[tuple[str, ...]] = []
    for connections, reach in ((64, 3.5), (16, 2.5)):
        found = _contest(stage, contestants, connections)
        rows += sample_rows(found, connections)
        section.figures.extend(_peer_figures(found, connections, reach))
    section.add(sample_table(rows))
    return section


def _peer_figures(found: Samples, connections: int, reach: float) -> list[Figure]:
    what = f"{_WHAT}: requests per CPU second, {connections} connections"
    ours = _cpu(found["pelton"])
    to_mosec = ratio(_cpu(found["mosec"]), ours)
    figures = [
        Figure(
            what=what,
            against="mosec",
            value=to_mosec.median,
            shown=str(to_mosec),
            reach=reach,
            reach_shown=f"≥ {reach}x",
        )
    ]
    if "triton" in found:
        to_triton = ratio(_cpu(found["triton"]), ours)
        against = "Triton (nvidia-pytriton's binary), C++ backend"
    elif connections == 64:
        to_triton = ratio([_TRITON_TO_FLOOR * cpu for cpu in _cpu(found["floor"])], ours)
        against = f"Triton, taken as {_TRITON_TO_FLOOR}x the floor: not interleaved"
    else:
        return figures
    figures.append(Figure(what=what, against=against, value=to_triton.median, shown=str(to_triton)))
    return figures
