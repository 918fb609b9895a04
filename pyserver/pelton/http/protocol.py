"""One connection: native code reads the bytes, uvicorn's protocol class answers what is left.

`data_received` is a builtin of the native request path, which judges every byte, answers inference
itself, and hands any other legal message, whole and one at a time, to uvicorn's half of this class.
That half is made when the first such message comes: an idle connection costs little.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pelton.errors import InvalidInput
from pelton.http._answers import error_answer
from pelton.http._identity import new_request_id
from pelton.http.state import ServerState

__all__ = ["PeltonProtocol"]

_CLOSING: Final = b"HTTP/1.1 400 Bad Request\r\n%bcontent-length: %d\r\nconnection: close\r\n\r\n%b"


class PeltonProtocol(HttpToolsProtocol):
    """`on_client_gone` is called when the connection is lost; the running request sets it."""

    # uvicorn's __init__ runs with the first message for it.
    def __init__(  # pylint: disable=super-init-not-called
        self,
        config: Any,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._arguments = (config, server_state, app_state, _loop)
        self.connections = server_state.connections
        self.state: ServerState = config.loaded_app.state
        self.on_client_gone: Callable[[], object] | None = None
        self._has_uvicorn = False
        self.native = self.state.new_connection()
        # uvloop looks this up once, when it is given the protocol.
        self.data_received = self.native.data_received  # type: ignore[method-assign]

    # -- connection ------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.connections.add(self)
        sock = transport.get_extra_info("socket")
        is_plain = transport.get_extra_info("ssl_object") is None
        self.native.opened(transport, self, -1 if sock is None else sock.fileno(), is_plain)

    def connection_lost(self, exc: Exception | None) -> None:
        self.native.lost()
        self.connections.discard(self)
        if self._has_uvicorn:
            super().connection_lost(exc)
        del self.data_received
        if self.on_client_gone is not None:
            self.on_client_gone()

    def eof_received(self) -> bool:  # type: ignore[override]
        """A client that sends no more may wait for its answers. TLS has no such half-close."""
        is_due = self.native.received_eof()
        return is_due and self.transport.get_extra_info("ssl_object") is None

    def pause_writing(self) -> None:
        self.native.pause_writing()
        if self._has_uvicorn:
            super().pause_writing()

    def resume_writing(self) -> None:
        self.native.resume_writing()
        if self._has_uvicorn:
            super().resume_writing()

    # -- uvicorn's half ----------------------------------------------------------------------------
    def forward(self, data: bytes) -> None:
        """Bytes of a message that the native path does not take; it calls this."""
        if not self._has_uvicorn:
            self._has_uvicorn = True
            transport = self.transport
            super().__init__(*self._arguments)
            super().connection_made(transport)
            # Both halves may hold the client back: the native one puts their wishes together.
            self.flow = FlowControl(self.native)
        HttpToolsProtocol.data_received(self, data)

    def take_back(self) -> bool:
        """The native half answers the message instead. False: its answer has begun here."""
        if self.transport.is_closing() or self.cycle is None or self.cycle.response_started:
            return False
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        return True

    def probe(self) -> None:
        """An interim answer, from which a client that is gone sends a reset back."""
        if self.cycle is not None and not self.cycle.response_started:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"pelton.connection": self}  # type: ignore[dict-item]

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unset_keepalive_if_required()  # idle connections are the native path's to end
        self.native.forwarded_answered(self.transport.is_closing())

    def send_400_response(self, msg: str) -> None:
        """llhttp refuses what the native parser let pass."""
        error = InvalidInput("the request is not HTTP/1.1", expected="HTTP/1.1", got=msg)
        request_id = new_request_id()
        answer = error_answer(error, request_id=request_id, headers={})
        body = b"".join(answer.chunks)
        own = (b"x-request-id", request_id.encode())
        fields = [*self.server_state.default_headers, *answer.headers, own]
        lines = b"".join(b"%b: %b\r\n" % field for field in fields)
        self.transport.write(_CLOSING % (lines, len(body), body))
        self.transport.close()

    # -- the end -----------------------------------------------------------------------------------
    def drain(self) -> None:
        """Close the connection as soon as every request whose head was read has its answer.

        One on which bytes wait that were not read yet, or part of a head, is left for the next
        call: its request would be lost otherwise.
        """
        if self.native.is_idle and not _is_readable(self.transport):
            self.transport.close()
        elif self._has_uvicorn and self.cycle is not None and not self.native.has_waiting:
            self.cycle.keep_alive = False


def _is_readable(transport: asyncio.Transport) -> bool:
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return False
    poller = select.poll()
    poller.register(sock.fileno(), select.POLLIN)
    return bool(poller.poll(0))
