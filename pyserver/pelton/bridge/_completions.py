"""Completions of one event loop: one native queue, one descriptor, one wake-up per batch.

A request's token is the future that its caller awaits. The engine writes to the queue's eventfd at
most once until it is drained, so a batch of sixty requests costs one wake-up and one pass here.
"""

from __future__ import annotations

import asyncio
import weakref

from pelton import _native
from pelton.bridge._status import OK, error_of

__all__ = ["LoopCompletions"]


class LoopCompletions:
    """The completion queue of one running loop. Used on that loop's thread only, but for `close`
    after the loop has been closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, capacity: int) -> None:
        self.queue = _native.CompletionQueue(capacity)
        # The loop holds this object through its reader; a strong reference back would keep a
        # dropped loop alive.
        self._loop = weakref.ref(loop)
        self._fileno = self.queue.fileno()
        loop.add_reader(self._fileno, self._drain)

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop, while it lives."""
        return self._loop()

    @property
    def is_for_closed_loop(self) -> bool:
        loop = self._loop()
        return loop is None or loop.is_closed()

    def _drain(self) -> None:
        future: asyncio.Future[None]
        for future, code, message in self.queue.drain():  # type: ignore[assignment]
            if future.done():  # its caller has given up
                continue
            if code == OK:
                future.set_result(None)
            else:
                future.set_exception(error_of(code, message))

    def close(self) -> None:
        loop = self._loop()
        if loop is not None and not loop.is_closed():
            loop.remove_reader(self._fileno)
        self.queue.close()
