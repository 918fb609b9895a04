"""The one engine of the process, shared by models in a program and by servers in it.

`Engine` and `LoadedModel` are thread-safe, and usable from many threads and event loops at once.
After a fork the engine's threads exist in the parent only: models loaded before it raise
`Unavailable` in the child, which may load its own.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pelton import _native
from pelton._cpus import process_cpus
from pelton.bridge._completions import LoopCompletions
from pelton.bridge._stats import snapshot_of
from pelton.bridge._status import native_errors
from pelton.bridge.plan import Plan
from pelton.errors import DeadlineExceeded, Unavailable
from pelton.metrics import EngineSnapshot

__all__ = [
    "NO_DEADLINE",
    "Engine",
    "LoadOptions",
    "LoadedCallback",
    "LoadedModel",
    "Payload",
    "Submission",
    "shared_engine",
]

_LOG: Final = logging.getLogger("pelton.engine")
#: `deadline_ns` of a request that may wait for ever.
NO_DEADLINE: Final = 2**63 - 1

Array = npt.NDArray[Any]


class LoadOptions(NamedTuple):
    """Limits of one loaded model; `threads` is the most of the team that its batches may use."""

    threads: int
    batch_rows_max: int
    batch_tokens_max: int
    batch_wait_us_max: int
    queue_rows_max: int


class Submission(NamedTuple):
    """One request to the engine.

    `inputs` and `outputs` are C-contiguous arrays of the plan's dtypes, in the plan's order; an
    output of None is not wanted. Dense plans: axis 0 is rows. Ragged plans: `lengths` is int32
    [rows], each at least 1, and per-token tensors hold their sum of entries. `deadline_ns` is on
    the clock of `time.monotonic_ns`; `priority` is 1 (first) to 4.
    """

    inputs: Sequence[Array]
    outputs: Sequence[Array | None]
    rows: int
    lengths: npt.NDArray[np.int32] | None
    priority: int
    deadline_ns: int


class Payload(NamedTuple):
    """One request to a callable in the engine: an object that the callable gets, and the rows that
    it counts for in batches and queues, at least 1."""

    value: object
    rows: int
    priority: int
    deadline_ns: int


class _Loaded:
    """A model in the engine. `close` (or `Engine.close`) ends it."""

    def __init__(self, engine: Engine, model: int) -> None:
        self._engine = engine
        self._model = model
        # Also for a model that is dropped without close(); nothing can be in flight then.
        self._unload = weakref.finalize(self, engine.unload, model)
        self._unload.atexit = False

    @property
    def id(self) -> int:
        """What native code calls it."""
        return self._model

    @property
    def native(self) -> _native.Engine:
        """The native engine that it is loaded into. Raises `Unavailable` when it is closed."""
        return self._native()

    async def _completed(
        self,
        native: _native.Engine,
        submit: Callable[[LoopCompletions, asyncio.Future[None]], int],
        deadline_ns: int,
    ) -> None:
        """Submits, and returns when the request is over."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with native_errors():
            ticket = submit(self._engine.completions(loop), future)
        timer = None
        if deadline_ns != NO_DEADLINE:
            wait_s = (deadline_ns - time.monotonic_ns()) / 1e9
            timer = loop.call_later(max(wait_s, 0.0), self._expire, native, ticket, future)
        try:
            await future
        except asyncio.CancelledError:
            native.cancel(ticket)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    @staticmethod
    def _expire(native: _native.Engine, ticket: int, future: asyncio.Future[None]) -> None:
        if native.cancel(ticket) and not future.done():
            future.set_exception(DeadlineExceeded("the deadline passed before there was an answer"))

    def stats(self) -> dict[str, Any]:
        """What the engine counted for this model."""
        native = self._native()
        with native_errors():
            return native.stats(self._model)

    def snapshot(self) -> EngineSnapshot:
        """`stats` as metrics show them."""
        return snapshot_of(self.stats())

    def close(self) -> None:
        """Finish what is queued, then unload. Idempotent."""
        self._unload()

    def _native(self) -> _native.Engine:
        if not self._unload.alive:
            raise Unavailable("the model is closed")
        return self._engine.native()


class LoadedModel(_Loaded):
    """A plan loaded into the engine."""

    def __init__(self, engine: Engine, model: int, plan: Plan) -> None:
        super().__init__(engine, model)
        self.plan = plan

    def run(self, submission: Submission) -> None:
        """Blocks until the outputs are written, the GIL released."""
        native = self._native()
        request = submission
        with native_errors():
            native.run(
                self._model,
                request.inputs,
                request.outputs,
                request.rows,
                request.lengths,
                request.priority,
                request.deadline_ns,
            )

    async def infer(self, submission: Submission) -> None:
        """Returns when the outputs are written. Cancelling the awaiting task cancels the request,
        wherever it is; one still queued at its deadline ends then, not when a batch is formed."""
        native = self._native()
        request = submission

        def submit(completions: LoopCompletions, future: asyncio.Future[None]) -> int:
            return native.submit(
                self._model,
                request.inputs,
                request.outputs,
                request.rows,
                request.lengths,
                request.priority,
                request.deadline_ns,
                completions.queue,
                future,
            )

        await self._completed(native, submit, request.deadline_ns)


class LoadedCallback(_Loaded):
    """A callable in the engine: it gets the list of the payloads of each batch, on a thread of the
    engine, and puts its answers into them. What it raises fails the batch.

    The engine keeps the callable until `close`: it must not refer to this object. Within it no
    call may wait for the engine; those that would raise `Internal`.
    """

    def run(self, payload: Payload) -> None:
        """Blocks until the payload has been through the callable, the GIL released."""
        native = self._native()
        with native_errors():
            native.run_payload(self._model, *payload)

    async def infer(self, payload: Payload) -> None:
        """`run` for asyncio; cancelling and deadlines as of `LoadedModel.infer`. A callable that
        runs at that moment goes on, with nobody waiting for what it finds."""
        native = self._native()

        def submit(completions: LoopCompletions, future: asyncio.Future[None]) -> int:
            return native.submit_payload(self._model, *payload, completions.queue, future)

        await self._completed(native, submit, payload.deadline_ns)


class Engine:
    """The native engine with its team of `threads` threads. See `shared_engine`."""

    def __init__(self, *, threads: int, queue_requests_max: int) -> None:
        self.threads = threads
        self.queue_requests_max = queue_requests_max
        with native_errors():
            self._native: _native.Engine | None = _native.Engine(threads, queue_requests_max)
        self._closed_because = "the engine is closed"
        self._lock = threading.Lock()
        self._models: set[int] = set()
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopCompletions] = (
            weakref.WeakKeyDictionary()
        )
        self._latest = threading.local()
        _engines.add(self)

    @property
    def model_count(self) -> int:
        """Models loaded and not yet unloaded."""
        return len(self._models)

    def native_or_none(self) -> _native.Engine | None:
        return self._native

    def native(self) -> _native.Engine:
        native = self._native
        if native is None:
            raise Unavailable(self._closed_because)
        return native

    def load(self, plan: Plan, options: LoadOptions) -> LoadedModel:
        """Load a plan; raises `Error` where the engine refuses it."""
        with native_errors():
            model = self.native().load(
                plan.native,
                threads=min(options.threads, self.threads),
                batch_rows_max=options.batch_rows_max,
                batch_tokens_max=options.batch_tokens_max,
                batch_wait_us_max=options.batch_wait_us_max,
                queue_rows_max=options.queue_rows_max,
            )
        with self._lock:
            self._models.add(model)
        return LoadedModel(self, model, plan)

    def load_callback(
        self, function: Callable[[list[Any]], object], options: LoadOptions
    ) -> LoadedCallback:
        """Load a model that `function` runs (see `LoadedCallback`). `threads` is how many it
        computes on: of the team so many are left to it. `batch_tokens_max` is not used."""
        with native_errors():
            model = self.native().load_callback(
                function,
                threads=min(options.threads, self.threads),
                batch_rows_max=options.batch_rows_max,
                batch_wait_us_max=options.batch_wait_us_max,
                queue_rows_max=options.queue_rows_max,
            )
        with self._lock:
            self._models.add(model)
        return LoadedCallback(self, model)

    def unload(self, model: int) -> None:
        """Finish what is queued for a model, then forget it; nothing to do in a closed engine.

        Inside a callable (the collector may drop any model on any thread) another thread does it:
        this one would wait for itself.
        """
        if _native.inside_callable():
            threading.Thread(target=self.unload, args=(model,), name="pelton-unload").start()
            return
        native = self._native
        if native is not None:
            with native_errors():
                native.unload(model)
        with self._lock:
            self._models.discard(model)

    def completions(self, loop: asyncio.AbstractEventLoop) -> LoopCompletions:
        """The completion queue of the running loop, made at its first request."""
        latest: LoopCompletions | None = getattr(self._latest, "completions", None)
        if latest is not None and latest.loop is loop:
            return latest
        with self._lock:
            completions = self._loops.get(loop)
            if completions is None:
                for stale in [c for c in self._loops.values() if c.is_for_closed_loop]:
                    stale.close()
                completions = LoopCompletions(loop, self.queue_requests_max)
                self._loops[loop] = completions
        self._latest.completions = completions
        return completions

    def close(self) -> None:
        """Cancel what is queued, wait for what runs, join the team. Idempotent."""
        with self._lock:
            native, self._native = self._native, None
            self._models.clear()
        if native is not None:
            native.close()

    def abandon(self, reason: str) -> _native.Engine | None:
        """Give the native engine up without touching it: in a forked child it has no threads, and
        even its destructor would wait for them."""
        native, self._native = self._native, None
        self._closed_because = reason
        self._lock = threading.Lock()  # may have been held by a thread that is gone
        return native


_shared: Engine | None = None
# A callable on a thread of an engine that is still open would enter an interpreter that has ended.
_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
_shared_lock = threading.Lock()
# Engines of the parent process: kept, so that their destructors never run in the child.
_abandoned: list[_native.Engine | None] = []


def shared_engine(*, threads: int, queue_requests_max: int) -> Engine:
    """The engine of this process, made at the first call.

    Its team has the largest number of threads asked for: it starts with at least the CPUs of this
    process (parked threads cost nothing), and is made anew for more while no model is loaded.
    """
    global _shared
    with _shared_lock:
        if _shared is not None and _shared.native_or_none() is None:
            _shared = None
        if _shared is not None and threads > _shared.threads:
            if _shared.model_count:
                _LOG.warning(
                    "%d threads asked for; the engine already runs models on %d and keeps them",
                    threads,
                    _shared.threads,
                )
            else:
                _shared.close()
                _shared = None
        if _shared is None:
            _shared = Engine(
                threads=max(threads, process_cpus()), queue_requests_max=queue_requests_max
            )
        return _shared


def _close_at_exit() -> None:
    for engine in list(_engines):
        engine.close()


def _after_fork_in_child() -> None:
    global _shared, _shared_lock
    _shared_lock = threading.Lock()
    if _shared is not None:
        reason = "the engine belongs to the parent process; load the model after the fork"
        _abandoned.append(_shared.abandon(reason))
        _shared = None


atexit.register(_close_at_exit)
os.register_at_fork(after_in_child=_after_fork_in_child)
