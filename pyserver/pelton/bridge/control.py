"""The gates of the native request path: what they count, and a way to replay histories.

The event loop's native code asks the gates; Python reads snapshots. `ModelGates` drives the same
classes with `now` as an argument, for tests and for answering what a limit would have done.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, NamedTuple

from pelton import _native
from pelton.bridge._problems import native_problems
from pelton.metrics import HistogramSnapshot

__all__ = [
    "CountedTime",
    "GateRequest",
    "GateSnapshot",
    "ModelGates",
    "RequestCounters",
    "RequestEnd",
    "counters_of",
    "gates_of",
]

GateRequest = _native.GateRequest


class RequestEnd(IntEnum):
    """How a request that passed the gates ended. The numbers of csrc/control/request_gate.h."""

    OK = 0
    ERROR = 1
    CANCELLED = 2
    EXPIRED = 3
    REJECTED = 4


class CountedTime(NamedTuple):
    """Events of one kind, and the nanoseconds that they took together."""

    events: int
    ns: int


class RequestCounters(NamedTuple):
    """What the native path counted of one model.

    - `outcomes`: "ok" and the codes of errors, those that occurred.
    - `decode`, `encode`: in seconds.
    - `times`: the eight keys of the Open Inference Protocol's statistics.
    - `inference_count`: rows that succeeded; `execution_count`: batches with rows of this path.
    - `last_inference_ns`: when the last of them ended, on the clock of `time.monotonic_ns`; 0 is
      never.
    """

    outcomes: Mapping[str, int]
    decode: HistogramSnapshot
    encode: HistogramSnapshot
    bytes_in: int
    bytes_out: int
    times: Mapping[str, CountedTime]
    inference_count: int
    execution_count: int
    last_inference_ns: int


class GateSnapshot(NamedTuple):
    """What the gates of one model hold and have refused.

    `refused` is by gate: limits, concurrency, queue, deadline. A batch of n tokens is expected to
    run `batch_fixed_ns` + n * `batch_token_ns`.
    """

    in_flight: int
    queue_rows: int
    refused: Mapping[str, int]
    batch_fixed_ns: float
    batch_token_ns: float


def _histogram(stats: Mapping[str, Any]) -> HistogramSnapshot:
    return HistogramSnapshot(stats["bounds"], stats["counts"], stats["total"])


def counters_of(stats: Mapping[str, Any]) -> RequestCounters:
    """What native code returned, with types."""
    return RequestCounters(
        outcomes=stats["outcomes"],
        decode=_histogram(stats["decode_seconds"]),
        encode=_histogram(stats["encode_seconds"]),
        bytes_in=stats["bytes_in"],
        bytes_out=stats["bytes_out"],
        times={name: CountedTime(*counted) for name, counted in stats["times"].items()},
        inference_count=stats["inference_count"],
        execution_count=stats["execution_count"],
        last_inference_ns=stats["last_inference_ns"],
    )


def gates_of(stats: Mapping[str, Any]) -> GateSnapshot:
    """What native code returned, with types."""
    return GateSnapshot(**stats)


class ModelGates:
    """The gates of one model, apart from any server. `now` and all times are nanoseconds.

    Limits: body_bytes_max, rows_max, concurrency_max (0 is none), queue_rows_max,
    request_rows_max (of one request that are with the engine at a time), batch_rows_max,
    batch_tokens_max. Not thread-safe, but for `counters` and `snapshot`.
    """

    def __init__(self, **limits: int) -> None:
        self._native = _native.ModelGates(**limits)

    def before(self, request: GateRequest, now: int) -> None:
        """Raises the error that a refused request is answered with: `PayloadTooLarge`,
        `QueueFull`, `DeadlineExceeded`."""
        with native_problems():
            self._native.before(request, now)

    def ran(
        self,
        request: GateRequest,
        *,
        queued: int,
        started: int,
        ended: int,
        rows: int,
        tokens: int,
    ) -> None:
        """A batch of `rows` and `tokens` in which the request ran, or a part of it."""
        self._native.ran(
            request, queued=queued, started=started, ended=ended, rows=rows, tokens=tokens
        )

    def after(self, request: GateRequest, end: RequestEnd, now: int) -> None:
        """Once for each request that passed `before`."""
        self._native.after(request, int(end), now)

    def decoded(self, decode_ns: int, body_bytes: int) -> None:
        """A request was read."""
        self._native.decoded(decode_ns, body_bytes)

    def count_ok(
        self,
        request: GateRequest,
        *,
        decode_ns: int = 0,
        encode_ns: int = 0,
        total_ns: int = 0,
        body_bytes: int = 0,
    ) -> None:
        """A request was answered with `body_bytes`."""
        self._native.count_ok(
            request,
            decode_ns=decode_ns,
            encode_ns=encode_ns,
            total_ns=total_ns,
            body_bytes=body_bytes,
        )

    def count_problem(self, code: str, total_ns: int) -> None:
        """A request ended with the error of this code."""
        self._native.count_problem(code, total_ns)

    def counters(self) -> RequestCounters:
        """Everything counted so far."""
        return counters_of(self._native.counters())

    def snapshot(self) -> GateSnapshot:
        """What the gates hold now."""
        return gates_of(self._native.snapshot())
