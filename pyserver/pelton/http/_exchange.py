"""One request and what its handler needs: headers, limits, and the body, read within bounds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pelton.errors import InvalidInput, PayloadTooLarge, RequestTimeout
from pelton.http._coding import Coding, CodingLimits, Decompressor, accepted_coding, request_coding
from pelton.http._identity import request_id_of
from pelton.http.state import ServerState

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

    from pelton.model import Model

__all__ = ["ALWAYS_OFF_LOOP", "Body", "ClientGone", "Exchange"]

T = TypeVar("T")

#: A body; a view where it was put together from pieces, so that it need not be copied once more.
Body = bytes | memoryview

#: As the byte count of `Exchange.off_loop`: whatever the size.
ALWAYS_OFF_LOOP: Final = 1 << 62

# Work on more than this is done in a worker thread.
_INLINE_BYTES_MAX: Final = 256 << 10
# A body may be slow for so long, then it must come at this pace.
_BODY_GRACE_S: Final = 5.0
_BODY_BYTES_PER_S_MIN: Final = 1024
_DEADLINE_MS_MAX: Final = 86_400_000
_NO_DEADLINE: Final = 2**63 - 1


class ClientGone(Exception):
    """The client closed its connection: there is nobody to answer."""


class Exchange:
    """The request of one ASGI scope. `arrived_ns` is on the clock of `time.monotonic_ns`."""

    __slots__ = (
        "_borrowed",
        "_raw_headers",
        "_receive",
        "arrived_ns",
        "body_was_read",
        "client_host",
        "connection",
        "headers",
        "headers_out",
        "path",
        "path_params",
        "request_id",
        "state",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        state: ServerState,
    ) -> None:
        self.arrived_ns = time.monotonic_ns()
        #: By lower-case name; latin-1, which never fails, is how HTTP has them.
        self.headers: Mapping[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        self.path: str = scope["path"]
        self.path_params: Mapping[str, str] = {}
        self.request_id = request_id_of(self.headers.get("x-request-id"))
        self.state = state
        self.body_was_read = False
        self._receive = receive
        self._raw_headers = scope["headers"]
        self._borrowed: list[Model] = []
        #: The peer's address, "" where it has none: that of a unix socket.
        self.client_host: str = (scope.get("client") or ("",))[0]
        # Set by our protocol class; absent in tests over a bare ASGI transport.
        self.connection: Any = scope.get("extensions", {}).get("pelton.connection")

    def use_model(self, name: str, version: str | None = None) -> Model:
        """The model, which stays open until `release`, whatever takes its place. Raises
        `ModelNotFound`, and `Unavailable` where it is closed."""
        model = self.state.ready_model(name, version)
        self.state.table.borrow(model)
        self._borrowed.append(model)
        return model

    def release(self) -> None:
        """The exchange is over."""
        while self._borrowed:
            self.state.table.give_back(self._borrowed.pop())

    # -- head --------------------------------------------------------------------------------------
    @property
    def content_length(self) -> int | None:
        value = self.headers.get("content-length", "")
        return int(value) if value.isascii() and value.isdigit() else None

    @property
    def has_unwanted_body(self) -> bool:
        """Whether to close the connection instead of reading on past a request that is refused: its
        body is large, or the client waits to be told to send it and may never do so (RFC 9110,
        section 10.1.1)."""
        if self.body_was_read:
            return False
        if "transfer-encoding" in self.headers:
            return True
        length = self.content_length or 0
        return length > _INLINE_BYTES_MAX // 4 or (length > 0 and "expect" in self.headers)

    def header_list(self, name: str) -> str | None:
        """The value of a header that may come in several lines, as one list (RFC 9110, section
        5.3)."""
        if name not in self.headers:
            return None
        wanted = name.encode()
        found = [value for header, value in self._raw_headers if header == wanted]
        return b", ".join(found).decode("latin-1")

    def body_coding(self) -> Coding | None:
        """How the body is compressed. Raises `UnsupportedMediaType` for a way that is not read."""
        return request_coding(self.header_list("content-encoding"))

    @property
    def answer_coding(self) -> Coding | None:
        """How the answer may be compressed."""
        return accepted_coding(self.header_list("accept-encoding"))

    def deadline_ns(self, timeout_us: int) -> int:
        """The earliest of the request's `timeout` (us, 0 for none), its header Pelton-Deadline-Ms,
        and, where it gives neither, the server's default."""
        waits_ns = [timeout_us * 1000] if timeout_us else []
        value = self.headers.get("pelton-deadline-ms")
        if value is not None:
            ok = value.isascii() and value.isdigit() and len(value) <= 9
            if not ok or not 0 < int(value) <= _DEADLINE_MS_MAX:
                expected = f"an integer from 1 to {_DEADLINE_MS_MAX}"
                raise InvalidInput(
                    f"Pelton-Deadline-Ms: expected {expected}, got {value[:40]!r}",
                    field="Pelton-Deadline-Ms",
                    expected=expected,
                    got=value[:40],
                )
            waits_ns.append(int(value) * 1_000_000)
        if not waits_ns and self.state.settings.deadline_ms_default:
            waits_ns.append(self.state.settings.deadline_ms_default * 1_000_000)
        return min(self.arrived_ns + min(waits_ns), _NO_DEADLINE) if waits_ns else _NO_DEADLINE

    # -- body --------------------------------------------------------------------------------------
    async def body(self) -> Body:
        """The whole body, decompressed. Raises `PayloadTooLarge` from the head alone where
        Content-Length says so, else as soon as it is over the limit, compressed or not;
        `RequestTimeout` where it comes too slowly; what `body_coding` raises."""
        coding = self.body_coding()
        body = await self._wire_body()
        return body if coding is None else await self._decompress(coding, body)

    async def _decompress(self, coding: Coding, body: Body) -> Body:
        limits = CodingLimits(self.state.settings.body_bytes_max)
        decompressor = Decompressor(coding, body, limits)
        if not decompressor.run(_INLINE_BYTES_MAX):
            await self.off_loop(ALWAYS_OFF_LOOP, decompressor.run)
        return memoryview(decompressor.body).toreadonly()

    async def _wire_body(self) -> Body:
        limit = self.state.settings.body_bytes_max
        length = self.content_length
        if length is not None and length > limit:
            raise _too_large(limit, f"{length} bytes")
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            body: bytes = message.get("body", b"")
            if len(body) > limit:
                raise _too_large(limit, f"{len(body)} bytes")
            self.body_was_read = True
            return body
        return await self._rest_of_body(message, limit)

    async def _rest_of_body(self, message: Any, limit: int) -> Body:
        body = bytearray()  # grows in place: a list of pieces and their sum would be two bodies
        started = time.monotonic()
        while True:
            if message["type"] == "http.disconnect":
                raise ClientGone
            body += message.get("body", b"")
            if len(body) > limit:
                raise _too_large(limit, f"more than {limit} bytes")
            if not message.get("more_body", False):
                self.body_was_read = True
                return memoryview(body).toreadonly()
            allowed_s = _BODY_GRACE_S + len(body) / _BODY_BYTES_PER_S_MIN
            wait_s = started + allowed_s - time.monotonic()
            try:
                message = await asyncio.wait_for(self._receive(), max(wait_s, 0.0))
            except TimeoutError:
                raise RequestTimeout(
                    f"the body did not come in time: {len(body)} bytes after {allowed_s:.0f} s",
                    expected=f"at least {_BODY_BYTES_PER_S_MIN} bytes a second",
                    got=f"{len(body)} bytes in {allowed_s:.0f} s",
                ) from None

    # -- work --------------------------------------------------------------------------------------
    async def off_loop(self, byte_count: int, function: Callable[..., T], *arguments: Any) -> T:
        """`function(*arguments)`, in a worker thread where it works on many bytes: nothing slow
        runs on the event loop."""
        if byte_count <= _INLINE_BYTES_MAX:
            return function(*arguments)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.state.workers, function, *arguments)

    async def until_gone(self, work: Awaitable[T]) -> T:
        """`await work`, cancelled as soon as the client goes away."""
        task = asyncio.current_task()
        if self.connection is None or task is None:
            return await work
        self.connection.on_client_gone = task.cancel
        try:
            return await work
        finally:
            self.connection.on_client_gone = None

    @property
    def is_client_gone(self) -> bool:
        return self.connection is not None and self.connection.transport.is_closing()

    @property
    def has_pipelined_requests(self) -> bool:
        """Whether bytes of further requests were read from the connection."""
        return self.connection is not None and self.connection.native.has_waiting


def _too_large(limit: int, got: str) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"expected a body of at most {limit} bytes, got {got}",
        expected=f"at most {limit} bytes",
        got=got,
    )
