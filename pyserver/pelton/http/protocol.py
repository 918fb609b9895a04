"""uvicorn's protocol class with the bounds that it lacks.

Added are a limit on open connections, limits on the size of a head and on the time it may take (a
connection that never sends one included), an end for clients that do not read their answer,
violations of HTTP answered in our error format, and a notice to the running request when its client
goes away. What llhttp takes but HTTP/1.1 forbids (no
Host, or two) is judged by the application.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pelton.errors import (
    Error,
    InvalidInput,
    PayloadTooLarge,
    RequestTimeout,
    Unavailable,
    to_body,
)
from pelton.http._answers import Answer, error_answer, json_answer
from pelton.http._identity import new_request_id
from pelton.http.state import ServerState

__all__ = ["PeltonProtocol"]

HEADER_COUNT_MAX: Final = 100
HEADER_BYTES_MAX: Final = 32 << 10
URI_BYTES_MAX: Final = 4 << 10
WRITE_STALL_S_MAX: Final = 30.0
# Of a head of which the parser has not seen the end of a line.
_HEAD_BYTES_MAX: Final = HEADER_BYTES_MAX + URI_BYTES_MAX


class _HeadRefused(Exception):
    """Stops the parser from inside one of its callbacks."""


class PeltonProtocol(HttpToolsProtocol):
    """One connection. `on_client_gone` is called when it is lost; the running request sets it."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.state: ServerState = self.config.loaded_app.state
        self.on_client_gone: Callable[[], object] | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._in_head = False
        self._in_message = False
        self._begun_now = 0  # messages that began in the bytes being parsed
        self._unparsed_bytes = 0  # of a head that is not complete
        self._header_bytes = 0
        self._header_count = 0
        self._refusal: Answer | None = None

    # -- connection ------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.state.connection_count = len(self.connections)
        if len(self.connections) > self.state.settings.connections_max:
            error = Unavailable("the server has no room for another connection")
            self._refuse(_answer_of(error))
            return
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        super().connection_lost(exc)  # resumes writing, which stops the other timer
        self.state.connection_count = len(self.connections)
        if self.on_client_gone is not None:
            self.on_client_gone()

    def data_received(self, data: bytes) -> None:
        was_between = not self._in_message
        self._begun_now = 0
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        # A head that did not come in one piece. llhttp reports a header when its line has ended, so
        # bytes are counted here too, unless others than those of this head are among them.
        if self._begun_now == 0 or (self._begun_now == 1 and was_between):
            self._unparsed_bytes += len(data)
        if self._unparsed_bytes > _HEAD_BYTES_MAX:
            self._refuse(_headers_too_large())
        elif self._head_timer is None:
            self._start_head_timer()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(WRITE_STALL_S_MAX, self.transport.abort)

    def resume_writing(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        super().resume_writing()

    # -- the parser's callbacks --------------------------------------------------------------------
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"pelton.connection": self}  # type: ignore[dict-item]
        self._in_head = self._in_message = True
        self._begun_now += 1
        self._unparsed_bytes = self._header_bytes = self._header_count = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > URI_BYTES_MAX:
            self._refusal = _uri_too_long()
            raise _HeadRefused

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_count += 1
        self._header_bytes += len(name) + len(value)
        if self._header_count > HEADER_COUNT_MAX or self._header_bytes > HEADER_BYTES_MAX:
            self._refusal = _headers_too_large()
            raise _HeadRefused
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_head_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_message = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls when the parser stops."""
        error = InvalidInput("the request is not HTTP/1.1", expected="HTTP/1.1", got=msg)
        self._refuse(self._refusal or _answer_of(error))

    # -- answers of our own, and the end -----------------------------------------------------------
    def _refuse(self, answer: Answer) -> None:
        """Answer and close; nothing more is read. With a request still running its answer is the
        last one: this one would overtake it."""
        self._stop_head_timer()
        self.pipeline.clear()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        head = [
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}".encode(),
            *(b"%b: %b" % header for header in self.server_state.default_headers),
            *(b"%b: %b" % header for header in answer.headers),
            b"content-length: %d" % answer.content_length,
            b"connection: close",
        ]
        self.transport.write(b"\r\n".join(head) + b"\r\n\r\n" + b"".join(answer.chunks))
        self.transport.close()

    def _start_head_timer(self) -> None:
        limit_s = self.state.settings.head_s_max
        self._head_timer = self.loop.call_later(limit_s, self._head_timed_out)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_timed_out(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self._in_head:
            self._refuse(_answer_of(RequestTimeout("the head of the request did not come in time")))
        else:  # a connection on which nothing was sent: no request, so no answer
            self.transport.close()

    def drain(self) -> None:
        """Close the connection as soon as every request whose head was read has its answer.

        One on which bytes wait that were not read yet, or part of a head, is left for the next
        call: its request would be lost otherwise.
        """
        if self._in_head or (self._is_idle() and _is_readable(self.transport)):
            return
        self.shutdown()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete


def _is_readable(transport: asyncio.Transport) -> bool:
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return False
    poller = select.poll()
    poller.register(sock.fileno(), select.POLLIN)
    return bool(poller.poll(0))


def _answer_of(error: Error) -> Answer:
    return error_answer(error, request_id=new_request_id(), headers={})


def _too_large(status: HTTPStatus, code: str, expected: str) -> Answer:
    """A head over a limit. Its statuses belong to no leaf of the error tree: only this class can
    give such an answer."""
    message = f"expected {expected}"
    body = to_body(PayloadTooLarge(message, expected=expected), "", new_request_id())
    body |= {
        "type": f"urn:pelton:error:{code}",
        "title": status.phrase,
        "status": status.value,
        "code": code,
    }
    return json_answer(body, status.value)


def _headers_too_large() -> Answer:
    return _too_large(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "headers_too_large",
        f"at most {HEADER_COUNT_MAX} header fields of {HEADER_BYTES_MAX} bytes in all",
    )


def _uri_too_long() -> Answer:
    expected = f"a target of at most {URI_BYTES_MAX} bytes"
    return _too_large(HTTPStatus.REQUEST_URI_TOO_LONG, "uri_too_long", expected)
