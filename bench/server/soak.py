"""A soak: most of what the server can take, for long, with all that goes wrong in between.

`python -m bench.server.soak --minutes 30`. Passes, with exit code 0, where every request that was
sent whole on a connection that its client kept got exactly one answer, every bad request what it
deserves, and the server's memory has no slope that is not error.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.machine import describe_machine
from bench.native import LOADGEN, build_program
from bench.report import table
from bench.server.bad_requests import BadRequest, bad_requests, send_bad
from bench.server.contest import Contestant
from bench.server.latency import capacity
from bench.server.load import LoadPlan, LoadResult, RunningLoad
from bench.server.processes import ServerProcess
from bench.server.requests import FORMATS, embeddings_request, oip_request
from bench.server.stage import ServerOptions, Stage

__all__ = ["Slope", "SoakOptions", "run_soak", "slope"]

_CONNECTIONS: Final = 256
_RECONNECT_EVERY: Final = 997
_CANCEL_EVERY: Final = 211
_SAMPLES: Final = 600
_BLOCKS: Final = 30
#: The first part of the run is not judged: pools and caches fill.
_WARM_SHARE: Final = 0.2
_ERRORS_ALLOWED: Final = 2.0
#: A slope below this is none: a process that is perfectly flat but for one page has an error of 0.
_NEGLIGIBLE_BYTES_PER_HOUR: Final = 1 << 20
_TEXTS: Final = ("a sentence", "another one that is somewhat longer than the first", "x " * 40)


@dataclass(frozen=True, slots=True, kw_only=True)
class SoakOptions:
    """`share` is of the capacity that a closed loop shows; `bad_per_second` are sent beside it."""

    server: ServerOptions
    seconds: float
    share: float = 0.8
    bad_per_second: float = 20.0


@dataclass(frozen=True, slots=True)
class Slope:
    """Bytes per hour, and the standard error of that."""

    value: float
    error: float

    @property
    def is_none(self) -> bool:
        """Whether memory does not grow, as far as one can tell."""
        return self.value <= max(_ERRORS_ALLOWED * self.error, _NEGLIGIBLE_BYTES_PER_HOUR)


def slope(seconds: Sequence[float], sizes: Sequence[float]) -> Slope:
    """A line through the means of 30 blocks: samples that follow one another at once go together,
    and to take them for independent would make the error too small."""
    count = min(_BLOCKS, len(seconds))
    edges = [len(seconds) * i // count for i in range(count + 1)]
    pairs = list(itertools.pairwise(edges))
    x = [statistics.fmean(seconds[a:b]) for a, b in pairs]
    y = [statistics.fmean(sizes[a:b]) for a, b in pairs]
    if count < 3:
        return Slope(math.nan, math.nan)
    value, start = statistics.linear_regression(x, y)
    mean = statistics.fmean(x)
    residual = sum((b - start - value * a) ** 2 for a, b in zip(x, y, strict=True)) / (count - 2)
    error = math.sqrt(residual / sum((a - mean) ** 2 for a in x))
    return Slope(3600 * value, 3600 * error)


class _BadClient:
    """Sends bad requests of all kinds in turns from a thread, at most so many per second."""

    def __init__(self, port: int, requests: Sequence[BadRequest], per_second: float) -> None:
        self.sent = 0
        self.statuses: Counter[int] = Counter()
        self.problems: Counter[str] = Counter()
        self._port = port
        self._requests = requests
        self._period_s = 1 / per_second
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bad-requests")
        self.start = self._thread.start

    def _run(self) -> None:
        for request in itertools.cycle(self._requests):
            if self._stop.wait(self._period_s):
                return
            outcome = send_bad(self._port, request)
            self.sent += 1
            self.statuses.update(outcome.statuses)
            if outcome.problem:
                self.problems[outcome.problem] += 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


class _Memory:
    """The server's resident bytes, sampled from a thread."""

    def __init__(self, server: ServerProcess, period_s: float) -> None:
        self.seconds: list[float] = []
        self.sizes: list[float] = []
        self._server = server
        self._period_s = period_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory")
        self.start = self._thread.start

    def _run(self) -> None:
        begin = time.monotonic()
        while not self._stop.wait(self._period_s):
            self.seconds.append(time.monotonic() - begin)
            self.sizes.append(self._server.resident_bytes())

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def warm_slope(self) -> Slope:
        first = int(_WARM_SHARE * len(self.seconds))
        return slope(self.seconds[first:], self.sizes[first:])


@dataclass(frozen=True, slots=True)
class _Found:
    load: LoadResult
    bad: _BadClient
    memory: _Memory
    rate: float
    exit_code: int

    def failures(self) -> list[str]:
        """What must not be; empty where the soak passed."""
        counts = self.load.counts
        names = ("lost", "unanswered", "malformed", "unsolicited", "connect_failures")
        found = [f"{counts[name]} {name}" for name in names if counts[name]]
        found += [f"{count} times {what}" for what, count in self.bad.problems.items()]
        if not self.load.ok:
            found.append("no request was answered with status 200")
        memory = self.memory.warm_slope()
        if not memory.is_none:
            found.append(
                f"memory grows by {memory.value / 2**20:.2f} MB an hour, "
                f"standard error {memory.error / 2**20:.2f}"
            )
        if self.exit_code != 0:
            found.append(f"the server ended with exit code {self.exit_code}")
        return found

    def table(self) -> str:
        counts, memory = self.load.counts, self.memory.warm_slope()
        answered = ", ".join(
            f"{count:,} x {status}" for status, count in self.load.statuses.items()
        )
        bad = ", ".join(
            f"{count} x {status}" for status, count in sorted(self.bad.statuses.items())
        )
        sizes = [size / 2**20 for size in self.memory.sizes]
        rows = [
            ("arrivals", f"{self.rate:,.0f}/s for {self.load.seconds:.0f} s"),
            ("requests started, sent whole", f"{counts['started']:,}, {counts['sent']:,}"),
            ("answers", answered),
            ("left by the client", f"{counts['cancelled']:,}"),
            (
                "lost, unanswered, unsolicited",
                ", ".join(str(counts[name]) for name in ("lost", "unanswered", "unsolicited")),
            ),
            ("due and never sent", f"{counts['unsent']:,}"),
            ("connections made", f"{counts['connects']:,}"),
            (
                "p50, p99, p99.9 us",
                ", ".join(f"{self.load.percentile_us(share):,.0f}" for share in (0.5, 0.99, 0.999)),
            ),
            ("bad requests", f"{self.bad.sent:,}, answers {bad}"),
            ("resident, first to last, MB", f"{sizes[0]:.1f} to {sizes[-1]:.1f}" if sizes else "–"),
            (
                "slope after warming up, MB an hour",
                f"{memory.value / 2**20:.3f}, standard error {memory.error / 2**20:.3f}",
            ),
        ]
        return table(("", ""), rows)


def run_soak(options: SoakOptions) -> tuple[list[str], str]:
    """What failed, and a table of what was counted."""
    with Stage(options.server) as stage:
        requests = [oip_request("add", "x", stage.add_row[None], form) for form in FORMATS]
        requests.append(oip_request("mlp", "x", stage.mlp_row[None], "binary"))
        models: dict[str, Path] = {"add": stage.add_plan, "mlp": stage.mlp_plan}
        if options.server.encoder is not None:
            models["minilm"] = options.server.encoder
            requests += [embeddings_request("minilm", [text]) for text in _TEXTS]
        server = stage.pelton(models, requests[0])
        contestant = Contestant(server, stage.requests("soak", *requests))
        limit = capacity(options.server, contestant)
        plan = LoadPlan(
            port=server.port,
            requests=contestant.requests,
            connections=_CONNECTIONS,
            seconds=options.seconds,
            rate=round(options.share * limit, 3),
            reconnect_every=_RECONNECT_EVERY,
            cancel_every=_CANCEL_EVERY,
            drain_seconds=30,
        )
        bad = _BadClient(server.port, bad_requests(requests[0]), options.bad_per_second)
        memory = _Memory(server, max(0.02, options.seconds / _SAMPLES))
        with RunningLoad(options.server.program, plan) as load:
            bad.start()
            memory.start()
            try:
                result = load.result()
            finally:
                bad.stop()
                memory.stop()
        found = _Found(result, bad, memory, options.share * limit, server.stop())
    return found.failures(), found.table()


def main(words: Sequence[str] | None = None) -> int:
    """0 where nothing failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.server.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="default %(default)s")
    parser.add_argument("--share", type=float, default=0.8, help="of capacity (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default %(default)s")
    parser.add_argument("--model", type=Path, help="encoder folder to serve, too")
    given = parser.parse_args(words)
    if not (given.minutes > 0 and 0 < given.share <= 1 and given.threads > 0):
        parser.error("expected --minutes above 0, --share from 0 to 1, --threads of at least 1")
    server = ServerOptions(
        program=build_program(LOADGEN),
        isa=describe_machine().isa,
        encoder=given.model,
        threads=given.threads,
        seed=given.seed,
    )
    failures, shown = run_soak(
        SoakOptions(server=server, seconds=60 * given.minutes, share=given.share)
    )
    print(f"# Soak, {server.isa}\n\n{shown}")
    for failure in failures:
        print(f"soak: {failure}", file=sys.stderr)
    print("passed" if not failures else "FAILED")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
