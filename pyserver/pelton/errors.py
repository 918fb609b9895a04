"""The one tree of exceptions, and the one table of what each leaf means on the wire.

Every failure that a caller can meet is a leaf under `Error`. A leaf has exactly one HTTP status,
one gRPC status and one code slug; `STATUSES` is the only place where they are written down. Raise a
leaf, never `Error` itself: the base class has no row in the table and so cannot be answered.

The HTTP body (`to_body`) is RFC 9457 "Problem Details" with a string member `error` beside it,
because the clients of Triton Inference Server show `error` and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

__all__ = [
    "STATUSES",
    "AlreadyExists",
    "BadResponse",
    "Cancelled",
    "CorruptPlan",
    "DeadlineExceeded",
    "Error",
    "ErrorStatus",
    "ExpectationFailed",
    "Forbidden",
    "HeadersTooLarge",
    "Internal",
    "InvalidInput",
    "InvalidSettings",
    "MethodNotAllowed",
    "ModelNotFound",
    "NotAcceptable",
    "OutOfMemory",
    "PayloadTooLarge",
    "QueueFull",
    "RequestTimeout",
    "RouteNotFound",
    "Unavailable",
    "Unimplemented",
    "UnsupportedMediaType",
    "UnsupportedModel",
    "UnsupportedPlan",
    "UriTooLong",
    "leaf_for_code",
    "retry_headers",
    "status_of",
    "to_body",
]

#: The detail members of an error, in the order in which `to_body` writes them.
DETAILS: Final = (
    "tensor",
    "field",
    "expected",
    "got",
    "offset",
    "model",
    "version",
    "retry_after_ms",
)


class Error(Exception):
    """Base of every error that Pelton raises on purpose.

    `message` says in one sentence what was wrong and, where it applies, what was expected and what
    came; it is shown to callers, so it must hold no internals. The keyword arguments are the same
    facts for programs:

    - `tensor`: name of the input or output at fault;
    - `field`: path of the member at fault, such as `inputs[0].shape`;
    - `expected`, `got`: what the contract says and what came instead;
    - `offset`: byte offset in the (decompressed) body at which reading failed;
    - `model`, `version`: what the request was for;
    - `retry_after_ms`: how long to wait before another try can succeed.
    """

    def __init__(
        self,
        message: str,
        *,
        tensor: str | None = None,
        field: str | None = None,
        expected: str | None = None,
        got: str | None = None,
        offset: int | None = None,
        model: str | None = None,
        version: str | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.tensor = tensor
        self.field = field
        self.expected = expected
        self.got = got
        self.offset = offset
        self.model = model
        self.version = version
        self.retry_after_ms = retry_after_ms

    @property
    def details(self) -> dict[str, str | int]:
        """The details that were given, by name."""
        found = ((name, getattr(self, name)) for name in DETAILS)
        return {name: value for name, value in found if value is not None}

    @property
    def http_status(self) -> int:
        return status_of(self).http

    @property
    def grpc_status(self) -> str:
        return status_of(self).grpc

    @property
    def code(self) -> str:
        return status_of(self).code


class InvalidInput(Error):
    """The request is malformed, or its tensors do not fit the model's contract."""


class InvalidSettings(Error):
    """A setting, flag or key of a settings file is unknown or out of range."""


class Forbidden(Error):
    """Who asks may not do this."""


class ModelNotFound(Error):
    """No model, or no version of it, has this name."""


class RouteNotFound(Error):
    """The server has no such path."""


class MethodNotAllowed(Error):
    """The path exists but not with this HTTP method."""


class NotAcceptable(Error):
    """No format that the request accepts can carry the answer."""


class AlreadyExists(Error):
    """The name is taken."""


class RequestTimeout(Error):
    """The client did not send its request in time."""


class PayloadTooLarge(Error):
    """The request, or a part of it, is over a limit of size."""


class UriTooLong(Error):
    """The target of the request is over the limit of its length."""


class HeadersTooLarge(Error):
    """The header fields of the request are too many, or over the limit of their size."""


class ExpectationFailed(Error):
    """The request expects something of the server, in `Expect`, that it does not know."""


class UnsupportedMediaType(Error):
    """The body's type or content coding is none that the server reads."""


class Unimplemented(Error):
    """A known feature of the protocol that this server lacks or that is turned off."""


class QueueFull(Error):
    """The bounded queue of the model has no room; the request was not started."""


class OutOfMemory(Error):
    """A memory cap would be passed; the request was not started."""


class Unavailable(Error):
    """The model or server is not ready, is draining, or cannot be reached."""


class DeadlineExceeded(Error):
    """The deadline passed before there was an answer."""


class Cancelled(Error):
    """The caller gave the request up."""


class UnsupportedModel(Error):
    """The model is of a kind that the compiler or engine does not know."""


class UnsupportedPlan(Error):
    """The compiled plan is of another format version, or needs an op that is not registered."""


class CorruptPlan(Error):
    """The compiled plan is truncated, altered or inconsistent."""


class BadResponse(Error):
    """A server answered the client with something that this client cannot read."""


class Internal(Error):
    """A defect of Pelton. Its message is for the log; callers are shown a fixed sentence."""


@dataclass(frozen=True, slots=True)
class ErrorStatus:
    """What one leaf is on the wire. `code` is the slug in `urn:pelton:error:<code>`."""

    http: int
    grpc: str
    code: str
    title: str


STATUSES: Final[Mapping[type[Error], ErrorStatus]] = MappingProxyType(
    {
        InvalidInput: ErrorStatus(400, "INVALID_ARGUMENT", "invalid_input", "Invalid input"),
        InvalidSettings: ErrorStatus(
            400, "FAILED_PRECONDITION", "invalid_settings", "Bad settings"
        ),
        Forbidden: ErrorStatus(403, "PERMISSION_DENIED", "forbidden", "Forbidden"),
        ModelNotFound: ErrorStatus(404, "NOT_FOUND", "model_not_found", "Model not found"),
        RouteNotFound: ErrorStatus(404, "NOT_FOUND", "route_not_found", "Not Found"),
        MethodNotAllowed: ErrorStatus(
            405, "UNIMPLEMENTED", "method_not_allowed", "Method Not Allowed"
        ),
        NotAcceptable: ErrorStatus(406, "INVALID_ARGUMENT", "not_acceptable", "Not Acceptable"),
        RequestTimeout: ErrorStatus(
            408, "DEADLINE_EXCEEDED", "request_timeout", "Request not received in time"
        ),
        AlreadyExists: ErrorStatus(409, "ALREADY_EXISTS", "already_exists", "Already exists"),
        PayloadTooLarge: ErrorStatus(
            413, "INVALID_ARGUMENT", "payload_too_large", "Payload too large"
        ),
        UriTooLong: ErrorStatus(414, "INVALID_ARGUMENT", "uri_too_long", "URI too long"),
        UnsupportedMediaType: ErrorStatus(
            415, "UNIMPLEMENTED", "unsupported_media_type", "Unsupported media type"
        ),
        ExpectationFailed: ErrorStatus(
            417, "INVALID_ARGUMENT", "expectation_failed", "Expectation failed"
        ),
        HeadersTooLarge: ErrorStatus(
            431, "INVALID_ARGUMENT", "headers_too_large", "Request header fields too large"
        ),
        Cancelled: ErrorStatus(499, "CANCELLED", "cancelled", "Cancelled by the caller"),
        Internal: ErrorStatus(500, "INTERNAL", "internal", "Internal error"),
        CorruptPlan: ErrorStatus(500, "DATA_LOSS", "corrupt_plan", "Corrupt plan"),
        Unimplemented: ErrorStatus(501, "UNIMPLEMENTED", "not_implemented", "Not implemented"),
        UnsupportedModel: ErrorStatus(
            501, "UNIMPLEMENTED", "unsupported_model", "Unsupported model"
        ),
        UnsupportedPlan: ErrorStatus(
            501, "FAILED_PRECONDITION", "unsupported_plan", "Unsupported plan"
        ),
        BadResponse: ErrorStatus(502, "UNKNOWN", "bad_response", "Unreadable answer"),
        QueueFull: ErrorStatus(503, "RESOURCE_EXHAUSTED", "queue_full", "Queue full"),
        OutOfMemory: ErrorStatus(503, "RESOURCE_EXHAUSTED", "out_of_memory", "Out of memory"),
        Unavailable: ErrorStatus(503, "UNAVAILABLE", "unavailable", "Unavailable"),
        DeadlineExceeded: ErrorStatus(
            504, "DEADLINE_EXCEEDED", "deadline_exceeded", "Deadline exceeded"
        ),
    }
)

_BY_CODE: Final = {status.code: leaf for leaf, status in STATUSES.items()}

_INTERNAL_TEXT: Final = "the server failed; its log names this request id"


def status_of(error: Error | type[Error]) -> ErrorStatus:
    """The row of the table for a leaf (or for an instance of one, or of a subclass of one)."""
    kind = error if isinstance(error, type) else type(error)
    for base in kind.__mro__:
        if base in STATUSES:
            return STATUSES[base]
    raise TypeError(f"{kind.__name__} is not a leaf of the error tree; raise one of its leaves")


def leaf_for_code(code: str) -> type[Error] | None:
    """The leaf whose slug is `code`, or None: a newer server may know more of them."""
    return _BY_CODE.get(code)


def to_body(error: Error, instance: str, request_id: str) -> dict[str, Any]:
    """The problem document for `error`, ready for JSON or msgpack.

    `instance` is the path of the request, `request_id` the id that the log and the `X-Request-Id`
    header carry. The message and details of `Internal` are withheld: they may hold internals.
    """
    status = status_of(error)
    hidden = status is STATUSES[Internal]
    detail = _INTERNAL_TEXT if hidden else error.message
    return {
        "error": detail,
        "type": f"urn:pelton:error:{status.code}",
        "title": status.title,
        "status": status.http,
        "detail": detail,
        "instance": instance,
        "code": status.code,
        "request_id": request_id,
        **({} if hidden else error.details),
    }


def retry_headers(error: Error, jitter: float = 0.0) -> dict[str, str]:
    """`Retry-After` (whole seconds, at least 1) and `retry-after-ms` for answers of status 503,
    else nothing.

    `jitter` in [0, 1) stretches the wait by that share, so that callers turned away together do not
    come back together; the caller draws it, which keeps this function pure.
    """
    if status_of(error).http != 503:
        return {}
    wait_ms = 1000 if error.retry_after_ms is None else error.retry_after_ms
    wait_ms = max(1, math.ceil(wait_ms * (1.0 + jitter)))
    return {"Retry-After": str(max(1, math.ceil(wait_ms / 1000))), "retry-after-ms": str(wait_ms)}
