"""Drives an ASGI application without a socket: one request, its whole answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

LIMIT_S = 60.0


@dataclass
class Reply:
    """An answer; `headers` by lower-case name, each once."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def msgpack(self) -> Any:
        return msgpack.unpackb(self.body)


class Asgi:
    """A client of `app` on a loop of its own. `ask` is for one request at a time, `send` for many
    from a coroutine given to `run`."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._runner = asyncio.Runner()

    def run(self, coroutine: Any) -> Any:
        return self._runner.run(asyncio.wait_for(coroutine, LIMIT_S))

    def close(self) -> None:
        self._runner.close()

    def ask(
        self, method: str, path: str, body: Any = b"", headers: Any = None, **more: Any
    ) -> Reply:
        return self.run(self.send(method, path, body, headers, **more))

    def post(self, path: str, document: Any, **headers: str) -> Reply:
        """POST a JSON document; a header's name has _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", path, json.dumps(document).encode(), named)

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | Sequence[bytes] = b"",
        headers: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        *,
        host: str | None = "test",
        disconnect: bool = False,
        stall: bool = False,
        on_receive: Callable[[], None] = lambda: None,
    ) -> Reply:
        """`body` as a list is sent in those pieces, without a Content-Length. With `disconnect` the
        client is gone after the last piece; with `stall` no piece comes after the first."""
        whole = isinstance(body, bytes)
        pieces = [body] if isinstance(body, bytes) else list(body)
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers or [])
        if host is not None:
            pairs.append(("host", host))
        names = [name.lower() for name, _ in pairs]
        if whole and body and "content-length" not in names:
            pairs.append(("content-length", str(len(body))))
        if not whole:
            pairs.append(("transfer-encoding", "chunked"))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in pairs],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        sent: list[Any] = []
        position = 0

        async def receive() -> dict[str, Any]:
            nonlocal position
            on_receive()
            if stall and position:
                await asyncio.Event().wait()
            if position >= len(pieces):
                if disconnect:
                    return {"type": "http.disconnect"}
                await asyncio.Event().wait()
            piece = pieces[position]
            position += 1
            more = position < len(pieces) or disconnect or stall
            return {"type": "http.request", "body": piece, "more_body": more}

        async def collect(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, collect)
        if not sent:
            return Reply(0, {}, b"")
        start, *bodies = sent
        found = [(n.decode(), v.decode("latin-1")) for n, v in start["headers"]]
        assert len({name for name, _ in found}) == len(found), f"a header comes twice: {found}"
        assert bodies[-1].get("more_body", False) is False
        body_out = b"".join(bytes(message.get("body", b"")) for message in bodies)
        reply = Reply(start["status"], dict(found), body_out)
        length = reply.headers.get("content-length")
        assert length == (None if reply.status == 204 else str(len(body_out)))
        return reply
