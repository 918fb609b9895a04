"""The floor: a fixed answer to every request, by uvloop and httptools and nothing else.

What any server on CPython's event loop pays before it does something: a read, a parse, a write.
Run as a script: `python floor.py PORT`.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Final, cast

import httptools
import uvloop

__all__ = ["ANSWER", "FloorProtocol"]

ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: 64\r\n\r\n"
    + bytes(64)
)


class FloorProtocol(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no class of asyncio.
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(ANSWER)


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(FloorProtocol, "127.0.0.1", port, backlog=1024)
    async with server:
        await stop.wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
