"""The native load generator, driven: closed loop, open loop, and connections that do nothing."""

from __future__ import annotations

import json
import math
import signal
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

__all__ = [
    "IdleConnections",
    "Latencies",
    "LoadPlan",
    "LoadResult",
    "RunningLoad",
    "Window",
    "run_load",
]

_HOST: Final = "127.0.0.1"
_STEPS: Final = 1024
#: The load generator ends by itself: at its end and the time it waits for answers.
_SPARE_S: Final = 60.0


def _value_ns(index: int) -> int:
    """The middle of a step; see bench/server/loadgen/histogram.h."""
    shift = max(0, index // _STEPS - 1)
    return ((index - shift * _STEPS) << shift) + ((1 << shift) >> 1)


@dataclass(frozen=True, slots=True)
class Latencies:
    """Counts by step of the load generator's histogram."""

    counts: Mapping[int, int]

    @classmethod
    def of(cls, steps: Iterable[Sequence[int]]) -> Latencies:
        return cls({step[0]: step[1] for step in steps})

    @classmethod
    def merged(cls, parts: Iterable[Latencies]) -> Latencies:
        total: Counter[int] = Counter()
        for part in parts:
            total.update(part.counts)
        return cls(total)

    @property
    def count(self) -> int:
        return sum(self.counts.values())

    def percentile_us(self, share: float) -> float:
        """The value of rank ceil(share * count); NaN where nothing was counted."""
        rank = max(1, math.ceil(share * self.count - 1e-9))
        seen = 0
        for index in sorted(self.counts):
            seen += self.counts[index]
            if seen >= rank:
                return _value_ns(index) / 1e3
        return math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """What to send where. `requests` is a file of raw requests; `rate` per second makes it an open
    loop, None a closed one. `window_ms` splits the result."""

    port: int
    requests: Path
    connections: int
    seconds: float
    rate: float | None = None
    window_ms: float | None = None
    reconnect_every: int | None = None
    cancel_every: int | None = None
    drain_seconds: float = 5.0

    def words(self) -> list[str]:
        words = ["closed" if self.rate is None else "open", "--host", _HOST]
        values = {
            "port": self.port,
            "requests": self.requests,
            "connections": self.connections,
            "seconds": self.seconds,
            "rate": self.rate,
            "window-ms": self.window_ms,
            "reconnect-every": self.reconnect_every,
            "cancel-every": self.cancel_every,
            "drain-seconds": self.drain_seconds,
        }
        for name, value in values.items():
            words += [] if value is None else [f"--{name}", str(value)]
        return words


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """`answered` within it; `latencies` are those of the requests that were due in it."""

    begin_ns: int
    answered: int
    failed: int
    latencies: Latencies


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What the load generator counted; see bench/server/loadgen/load.h."""

    seconds: float
    rate: float
    client_cpu_seconds: float
    counts: Mapping[str, int]
    statuses: Mapping[str, int]
    first_error: str
    latencies: Latencies
    max_us: float
    windows: tuple[Window, ...]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> LoadResult:
        counts = {name: value for name, value in document.items() if isinstance(value, int)}
        return cls(
            seconds=document["seconds"],
            rate=document["rate"],
            client_cpu_seconds=document["client_cpu_seconds"],
            counts=counts,
            statuses=document["statuses"],
            first_error=document["first_error"],
            latencies=Latencies.of(document["latency"]["histogram"]),
            max_us=document["latency"]["max_us"],
            windows=tuple(
                Window(
                    begin_ns=window["begin_ns"],
                    answered=window["answered"],
                    failed=window["failed"],
                    latencies=Latencies.of(window["histogram"]),
                )
                for window in document["windows"]
            ),
        )

    @property
    def ok(self) -> int:
        return self.counts["ok"]

    @property
    def failed(self) -> int:
        """Requests that the client did not itself give up and that got no answer of status 200."""
        return self.counts["started"] - self.ok - self.counts["cancelled"] + self.counts["unsent"]

    @property
    def client_share(self) -> float:
        """Of one CPU: near 1 the client is the limit, and rates say nothing of the server."""
        return self.client_cpu_seconds / self.seconds

    def percentile_us(self, share: float) -> float:
        return self.latencies.percentile_us(share)

    def check(self, what: str) -> None:
        """Exits where a request failed: a server that refuses is not compared."""
        if self.failed or not self.ok:
            raise SystemExit(
                f"bench: {what}: {self.failed} of {self.counts['started']} requests failed: "
                f"{self.first_error or 'not sent in time'}"
            )


class RunningLoad:
    """A load generator at work. A context manager that ends it."""

    def __init__(self, program: Path, plan: LoadPlan) -> None:
        self._seconds_max = plan.seconds + plan.drain_seconds + _SPARE_S
        self._process = subprocess.Popen(
            [str(program), *plan.words()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def result(self) -> LoadResult:
        """Waits for the end. Exits where the load generator failed."""
        out, error = self._process.communicate(timeout=self._seconds_max)
        if self._process.returncode != 0:
            raise SystemExit(f"bench: {error.strip()}")
        return LoadResult.of(json.loads(out))

    def stop(self) -> LoadResult:
        """Ends it before its time; what it counted until now."""
        self._process.send_signal(signal.SIGTERM)
        return self.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


def run_load(program: Path, plan: LoadPlan) -> LoadResult:
    with RunningLoad(program, plan) as load:
        return load.result()


class IdleConnections:
    """Connections that are open and do nothing while the block runs; `requests` names a file whose
    first request each of them sends once before."""

    def __init__(self, program: Path, port: int, count: int, requests: Path | None = None) -> None:
        self._words = [str(program), "idle", "--port", str(port), "--connections", str(count)]
        self._words += [] if requests is None else ["--requests", str(requests)]
        self._process: subprocess.Popen[str] | None = None
        self.closed_by_server = 0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if not _pipe(self._process.stdout).readline():
            error = _pipe(self._process.stderr).read().strip()
            self._end()
            raise SystemExit(f"bench: {error}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        line = self._end()
        self.closed_by_server = json.loads(line)["closed_by_server"] if line else 0

    def _end(self) -> str:
        assert self._process is not None
        out, _ = self._process.communicate(timeout=_SPARE_S)
        return out


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
