"""A tiny HTTP server in a thread that behaves as a test says."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import cast

__all__ = ["ToyServer", "answer", "post"]


def post(body: bytes = b"hello") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def answer(body: bytes = b"ok", *, status: int = 200, extra: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n" % (status, len(body))
    return head + extra + b"\r\n" + body


class ToyServer:
    """`reply(number, body)` gives the bytes that answer request `number` (of all connections); None
    closes the connection. A context manager."""

    def __init__(
        self, reply: Callable[[int, bytes], bytes | None], *, close_after_answer: bool = False
    ) -> None:
        self.close_after_answer = close_after_answer
        self.reply = reply
        self.bodies: list[bytes] = []
        self.connections = 0
        self.open: set[_Connection] = set()
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def stall(self, seconds: float) -> None:
        """Blocks the server's loop once, from now on."""
        self._loop.call_soon_threadsafe(time.sleep, seconds)

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        # A connection that is being accepted is a task of the loop, which needs the server open.
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0)
        server.close()
        while self.open:
            for connection in self.open:
                connection.transport.abort()
            await asyncio.sleep(0)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    def __enter__(self) -> ToyServer:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)


class _Connection(asyncio.Protocol):
    def __init__(self, server: ToyServer) -> None:
        self._server = server
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._server.connections += 1
        self._server.open.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._server.open.discard(self)

    def data_received(self, data: bytes) -> None:
        self._pending += data
        while b"\r\n\r\n" in self._pending:
            head, _, rest = self._pending.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            if len(rest) < length:
                return
            self._pending = rest[length:]
            number = len(self._server.bodies)
            self._server.bodies.append(rest[:length])
            answered = self._server.reply(number, rest[:length])
            if answered is None:
                return self.transport.close()
            self.transport.write(answered)
            if self._server.close_after_answer:
                return self.transport.close()
