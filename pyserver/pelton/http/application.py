"""The ASGI application: what every request passes on its way to a route and back.

Routes return answers or raise errors of the tree; here they become bodies. Nothing else of a
framework is in between: no middleware stack, and for a request one task, which uvicorn made.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from pelton.errors import (
    Error,
    Internal,
    InvalidInput,
    MethodNotAllowed,
    RequestTimeout,
    UnsupportedMediaType,
)
from pelton.http._answers import Answer, Header, error_answer
from pelton.http._exchange import ClientGone, Exchange
from pelton.http._routes import Routes
from pelton.http.control import Alone
from pelton.http.state import Control, ServerState

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = ["Application"]

_LOG: Final = logging.getLogger("pelton.http")
# Read and dropped behind a refused request, so that its answer is not lost to a reset.
_DISCARDED_BYTES_MAX: Final = 64 << 10
_DISCARD_S_MAX: Final = 1.0


class Application:
    """Serves the models of `state`; alone, or as one of the processes that `control` reaches."""

    def __init__(self, state: ServerState, control: Control | None = None) -> None:
        self.state = state
        self.routes = Routes()
        state.control = Alone(state) if control is None else control

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # no lifespan events; an upgrade is not offered
            return
        self.state.asgi_accepted += 1
        try:
            await self._serve(scope, receive, send)
        finally:
            self.state.asgi_answered += 1

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, self.state)
        try:
            await self._exchange(exchange, scope, receive, send)
        finally:
            exchange.release()

    async def _exchange(
        self, exchange: Exchange, scope: Scope, receive: Receive, send: Send
    ) -> None:
        try:
            answer = await self._answer(exchange, scope)
        except ClientGone:
            _log_client_gone(exchange)
            return
        except asyncio.CancelledError:
            if not exchange.is_client_gone:
                raise
            _log_client_gone(exchange)
            return
        try:
            await self._send(exchange, answer, receive, send)
        except OSError:  # the client went away while the answer was written
            _log_client_gone(exchange)

    async def _answer(self, exchange: Exchange, scope: Scope) -> Answer:
        try:
            _check_head(scope)
            return await self.routes.answer(exchange, scope)
        except Error as error:
            if error.http_status >= 500 and error.http_status != 503:
                _log_failure(exchange, error)
            return self._refuse(exchange, error)
        except ClientGone:
            raise
        except Exception as error:
            _log_failure(exchange, error)
            return self._refuse(exchange, Internal(repr(error)))

    def _refuse(self, exchange: Exchange, error: Error) -> Answer:
        answer = error_answer(
            error,
            path=exchange.path,
            request_id=exchange.request_id,
            headers=exchange.headers,
        )
        if isinstance(error, MethodNotAllowed) and error.expected is not None:
            answer.headers.append((b"allow", error.expected.encode()))
        elif isinstance(error, UnsupportedMediaType):
            name = b"accept-encoding" if error.field == "Content-Encoding" else b"accept-post"
            answer.headers.append((name, (error.expected or "").encode()))
        elif isinstance(error, RequestTimeout):
            answer.headers.append((b"connection", b"close"))
        return answer

    async def _send(self, exchange: Exchange, answer: Answer, receive: Receive, send: Send) -> None:
        unread = exchange.has_unwanted_body
        headers: list[Header] = [*answer.headers, (b"x-request-id", exchange.request_id.encode())]
        if (
            answer.status != HTTPStatus.NO_CONTENT
        ):  # which must not have one (RFC 9110, section 8.6)
            headers.append((b"content-length", b"%d" % answer.content_length))
        drains = self.state.draining and not exchange.has_pipelined_requests
        if (unread or drains) and (b"connection", b"close") not in headers:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        body = answer.chunks[0] if len(answer.chunks) == 1 else b"".join(answer.chunks)
        if unread:
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await _discard(receive)
            body = b""
        await send({"type": "http.response.body", "body": body, "more_body": False})


async def _discard(receive: Receive) -> None:
    """Read some of a body that nobody wants: closing a socket with unread bytes resets it, and a
    client still sending would not see the answer."""
    discarded = 0
    try:
        async with asyncio.timeout(_DISCARD_S_MAX):
            while discarded < _DISCARDED_BYTES_MAX:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                discarded += len(message.get("body", b""))
    except TimeoutError:
        return


def _check_head(scope: Scope) -> None:
    """What llhttp lets pass: HTTP/0.9, and HTTP/1.1 without exactly one Host (RFC 9112, section
    3.2)."""
    version = scope["http_version"]
    if version not in ("1.0", "1.1"):
        raise InvalidInput(
            f"expected HTTP/1.1, got HTTP/{version}", expected="HTTP/1.1", got=f"HTTP/{version}"
        )
    count = sum(name == b"host" for name, _ in scope["headers"])
    if count != 1 and (count or version == "1.1"):
        raise InvalidInput(
            f"expected one Host header, got {count}",
            field="Host",
            expected="one Host header",
            got=str(count),
        )


def _log_client_gone(exchange: Exchange) -> None:
    _LOG.info(
        "client gone: %s", exchange.path, extra={"request_id": exchange.request_id, "status": 499}
    )


def _log_failure(exchange: Exchange, error: Exception) -> None:
    _LOG.error(
        "%s failed: %s",
        exchange.path,
        error,
        exc_info=None if isinstance(error, Error) and not isinstance(error, Internal) else error,
        extra={"request_id": exchange.request_id},
    )
