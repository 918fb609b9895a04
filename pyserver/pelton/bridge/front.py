"""The native request path of one event loop, and its side of the loop.

`Front` lives on one running loop. The protocol class gives each connection's bytes to a
`Connection` of it; everything else here is what native code asks of asyncio: to be called at the
end of a turn, at a deadline, when completions came, ten times a second, and to compress an answer
off the loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Final, NamedTuple

from pelton import _native
from pelton._specs import TensorSpec
from pelton.bridge.engine import LoadedModel
from pelton.metrics import HistogramSnapshot, PathSnapshot

__all__ = [
    "Connection",
    "EncoderContract",
    "Front",
    "FrontLimits",
    "ServedContract",
    "ServedVersion",
]

_LOG: Final = logging.getLogger("pelton.http")
_SWEEP_S: Final = 0.1

Connection = _native.Connection
#: Compresses a body: `(coding, body)`.
Compress = Callable[[str, bytes], bytes]


class FrontLimits(NamedTuple):
    """Bounds of one loop's requests; seconds and bytes."""

    body_bytes_max: int
    head_bytes_max: int
    string_bytes_max: int
    requests_max: int
    bodies_bytes_max: int
    connections_max: int
    compress_bytes_min: int
    head_s_max: float
    keep_alive_s: float
    body_grace_s: float
    write_stall_s_max: float
    deadline_s_default: float


class EncoderContract(NamedTuple):
    """What a ragged plan's token ids must keep to. `ids_index` and `types_index` are places among
    the plan's inputs, -1 where it has none; `tokenizer` is native, or None."""

    positions_max: int
    vocabulary_size: int
    token_types: int
    ids_index: int
    types_index: int
    tokenizer: Any
    tokens_max: int
    text_bytes_max: int
    truncate: bool


class ServedContract(NamedTuple):
    """What the native path must know of a model to serve it."""

    loaded: LoadedModel
    inputs: tuple[TensorSpec, ...]
    alternatives: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    encoder: EncoderContract | None
    limits: dict[str, int]
    allow_non_finite: bool = False


class ServedVersion:
    """A version of a model, as the native path serves it."""

    def __init__(self, name: str, version: str, contract: ServedContract) -> None:
        encoder = contract.encoder
        described = {
            "name": name,
            "version": version,
            "inputs": _specs(contract.inputs),
            "alternatives": _specs(contract.alternatives),
            "outputs": _specs(contract.outputs),
            "encoder": None if encoder is None else encoder._asdict(),
            "allow_non_finite": contract.allow_non_finite,
        }
        loaded = contract.loaded
        self.native = _native.ServedModel(loaded.native, loaded.id, described, contract.limits)

    @property
    def is_in_use(self) -> bool:
        """Whether a front serves it, or a request that found it is under way."""
        return self.native.is_in_use

    def counts(self) -> PathSnapshot:
        """What was counted of its requests; thread-safe."""
        counts = self.native.counts()
        return PathSnapshot(
            counts["outcomes"],
            HistogramSnapshot(**counts["decode_seconds"]),
            HistogramSnapshot(**counts["encode_seconds"]),
        )


class Front:
    """Used on its loop's thread only, but for `stats`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: FrontLimits,
        workers: Executor,
        compress: Compress,
    ) -> None:
        self._loop = loop
        self._workers = workers
        self._compress = compress
        self._timer: asyncio.TimerHandle | None = None
        self._native = _native.Front(self, limits._asdict())
        loop.add_reader(self._native.fileno(), self._native.on_ready)
        self._sweep_timer = loop.call_later(_SWEEP_S, self._sweep)

    def connection(self) -> _native.Connection:
        """A new connection of this loop."""
        return _native.Connection(self._native)

    def set_model(self, name: str, versions: Sequence[ServedVersion]) -> None:
        """Requests for `name` that come from now on find these versions, those that name none the
        first; without any they go to the other protocol. What is under way goes on with the version
        that it found."""
        self._native.set_model(name, [version.native for version in versions])

    def remove_model(self, name: str) -> None:
        """Requests for it find no model from now on; what is under way goes on."""
        self._native.remove_model(name)

    def set_common_fields(self, lines: bytes) -> None:
        """Whole header lines of every answer."""
        self._native.set_common_fields(lines)

    def set_draining(self) -> None:
        """Answers close their connections from now on."""
        self._native.set_draining()

    def stats(self) -> dict[str, int]:
        """Counts of the path, by name."""
        return self._native.stats()

    def close(self) -> None:
        """Cancel what is under way and wait for the engine to let go of it."""
        self._sweep_timer.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._native.fileno())
        self._native.close()

    # -- what native code calls --------------------------------------------------------------------
    def call_at_turn_end(self) -> None:
        self._loop.call_soon(self._native.end_turn)

    def call_at(self, when_ns: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wait_s = (when_ns - time.monotonic_ns()) / 1e9
        self._timer = self._loop.call_later(max(wait_s, 0.0), self._native.on_timer)

    def compress(self, number: int, coding: str, body: bytes) -> None:
        task = self._loop.run_in_executor(self._workers, self._compress, coding, body)
        task.add_done_callback(lambda done: self._compressed(number, done))

    def _compressed(self, number: int, done: asyncio.Future[bytes]) -> None:
        failed = done.cancelled() or done.exception() is not None
        if failed and not done.cancelled():
            _LOG.error("an answer was not compressed: %s", done.exception())
        self._native.on_compressed(number, b"" if failed else done.result())

    def log_client_gone(self, path: str, request_id: str) -> None:
        _LOG.info("client gone: %s", path, extra={"request_id": request_id, "status": 499})

    def log_failure(self, path: str, request_id: str, message: str) -> None:
        _LOG.error("%s failed: %s", path, message, extra={"request_id": request_id})

    def _sweep(self) -> None:
        self._native.sweep()
        self._sweep_timer = self._loop.call_later(_SWEEP_S, self._sweep)


def _specs(specs: tuple[TensorSpec, ...]) -> list[tuple[str, int, tuple[int, ...]]]:
    return [(spec.name, _NUMBERS[spec.dtype], spec.shape) for spec in specs]


#: The numbers of csrc/base/dtype.h.
_NUMBERS: Final = {
    name: number
    for number, name in enumerate(
        (
            *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
            *("FP16", "BF16", "FP32", "FP64", "BYTES"),
        ),
        start=1,
    )
}
