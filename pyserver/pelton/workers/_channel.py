"""The control channel on an event loop: messages out, messages in, and requests with answers."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable
from typing import Any, Final

from pelton.errors import Unavailable
from pelton.workers._messages import Answer, Decoder, encode

__all__ = ["Channel"]

_READ_BYTES: Final = 64 << 10
# Requests that the other side has not answered yet, in time or not.
_UNANSWERED_MAX: Final = 64


class Channel:
    """One end of a socket pair. On one loop's thread."""

    def __init__(self, sock: socket.socket, decoder: Decoder | None = None) -> None:
        """`decoder` holds what was read of a frame before."""
        self._sock = sock
        self._decoder = Decoder() if decoder is None else decoder
        self._ids = itertools.count(1)
        self._unanswered: dict[int, asyncio.Future[Any]] = {}
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        """On the running loop. Messages can be sent from now on."""
        self._sock.setblocking(False)
        self._reader, self._writer = await asyncio.open_unix_connection(sock=self._sock)

    async def run(self, on_message: Callable[[Any], None]) -> None:
        """Read until the other side ends; then every request fails with `Unavailable`. REQUIRES:
        `open`."""
        assert self._reader is not None
        try:
            while data := await self._reader.read(_READ_BYTES):
                for message in self._decoder.feed(data):
                    if isinstance(message, Answer):
                        self._answered(message)
                    else:
                        on_message(message)
        except ConnectionError:
            pass  # the other process is gone
        finally:
            self.close()

    def send(self, message: Any) -> None:
        """A side that is gone does not hear it."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encode(message))

    async def request(self, make: Callable[[int], Any], seconds_max: float) -> Any:
        """The answer's value. Raises the answer's error; `TimeoutError`, at once where too many
        requests are unanswered; `Unavailable` when the other side has ended."""
        if self._writer is None or self._writer.is_closing():
            raise Unavailable("the other process has ended")
        if len(self._unanswered) >= _UNANSWERED_MAX:
            raise TimeoutError
        number = next(self._ids)
        future = self._unanswered[number] = asyncio.get_running_loop().create_future()
        self.send(make(number))
        # Not forgotten when the time is over: what is late still counts as unanswered.
        done, _ = await asyncio.wait([future], timeout=seconds_max)
        if not done:
            raise TimeoutError
        return future.result()

    def _answered(self, answer: Answer) -> None:
        future = self._unanswered.pop(answer.id, None)
        if future is None or future.done():
            return
        if answer.error is None:
            future.set_result(answer.value)
        else:
            future.set_exception(answer.error)
            future.exception()  # of a request that nobody waits for any more

    async def flush(self) -> None:
        """Until what was sent is with the system."""
        if self._writer is not None:
            await self._writer.drain()

    def close(self) -> None:
        """Idempotent."""
        if self._writer is not None:
            self._writer.close()
        for future in self._unanswered.values():
            if not future.done():
                future.set_exception(Unavailable("the other process has ended"))
                future.exception()
        self._unanswered.clear()
