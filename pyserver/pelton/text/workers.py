"""Tokenization off the event loop, without one thread hop per request.

A hop to a thread and back costs 60 to 100 us of wake-ups, more than tokenizing a sentence. So texts
that arrive while all workers are busy are handed over together, when one becomes free. At most as
many are busy as the caller's setting of threads says.
"""

from __future__ import annotations

import asyncio
import functools
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, TypeVar

from pelton._cpus import process_cpus
from pelton.errors import QueueFull

__all__ = ["tokenize_in_worker"]

T = TypeVar("T")

_WORKERS_MAX: Final = 4
_HANDED_OVER_MAX: Final = 64  # jobs that one worker takes at a time
_WAITING_MAX: Final = 65_536  # jobs of one loop


class _Job:
    __slots__ = ("arguments", "error", "function", "future", "result", "threads")

    def __init__(
        self,
        future: asyncio.Future[Any],
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        threads: int,
    ) -> None:
        self.future = future
        self.function = function
        self.arguments = arguments
        self.threads = threads
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        if self.future.cancelled():
            return
        try:
            self.result = self.function(*self.arguments)
        except BaseException as error:  # it belongs to the job's caller, not to the worker
            self.error = error

    def settle(self) -> None:
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class _LoopWorkers:
    """The jobs of one loop. All methods but `_work` run on the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._waiting: deque[_Job] = deque()
        self._busy = 0

    def submit(self, job: _Job) -> None:
        if len(self._waiting) >= _WAITING_MAX:
            raise QueueFull(f"{_WAITING_MAX} requests wait to be tokenized")
        self._waiting.append(job)
        self._hand_over()

    def _hand_over(self) -> None:
        """Waiting jobs to a worker, unless as many are busy as the first of them allows."""
        loop = self._loop()
        if loop is None or not self._waiting:
            return
        if self._busy >= min(self._waiting[0].threads, _worker_count()):
            return
        count = min(len(self._waiting), _HANDED_OVER_MAX)
        jobs = [self._waiting.popleft() for _ in range(count)]
        self._busy += 1
        _pool().submit(self._work, loop, jobs)

    def _work(self, loop: asyncio.AbstractEventLoop, jobs: Sequence[_Job]) -> None:
        for job in jobs:
            job.run()
        with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
            loop.call_soon_threadsafe(self._settle, jobs)

    def _settle(self, jobs: Sequence[_Job]) -> None:
        self._busy -= 1
        self._hand_over()
        for job in jobs:
            job.settle()


_lock = threading.Lock()
_executor: ThreadPoolExecutor | None = None
_by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopWorkers] = (
    weakref.WeakKeyDictionary()
)


@functools.cache
def _worker_count() -> int:
    return min(_WORKERS_MAX, process_cpus())


def _pool() -> ThreadPoolExecutor:
    global _executor
    with _lock:
        if _executor is None:
            _executor = ThreadPoolExecutor(_worker_count(), thread_name_prefix="pelton-text")
        return _executor


def _after_fork_in_child() -> None:
    """The parent's threads do not exist here."""
    global _lock, _executor, _by_loop
    _lock = threading.Lock()
    _executor = None
    _by_loop = weakref.WeakKeyDictionary()


os.register_at_fork(after_in_child=_after_fork_in_child)


async def tokenize_in_worker(
    function: Callable[..., T], *arguments: Any, threads: int = _WORKERS_MAX
) -> T:
    """`function(*arguments)`, which tokenizes, without holding up the running loop; it waits while
    `threads` workers of this loop are busy. Cancelling the caller drops the work if it has not
    begun."""
    loop = asyncio.get_running_loop()
    with _lock:
        workers = _by_loop.get(loop)
        if workers is None:
            workers = _by_loop[loop] = _LoopWorkers(loop)
    future: asyncio.Future[T] = loop.create_future()
    workers.submit(_Job(future, function, arguments, threads))
    return await future
