"""What both clients share, without I/O: a call to be sent, and what its reply means."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import quote, urlsplit

from pelton import errors
from pelton._specs import TensorSpec
from pelton.client._arrays import Array, to_array, to_tensor
from pelton.codec import DecodeLimits, decode_infer_response, encode_infer_request
from pelton.codec.embeddings import (
    EmbeddingsRequest,
    decode_embeddings_response,
    encode_embeddings_request,
)
from pelton.codec.negotiate import JSON_TYPE, MSGPACK_TYPES, OCTET_TYPE
from pelton.codec.types import (
    DATATYPES,
    PRIORITY_DEFAULT,
    PRIORITY_LEVELS,
    EncodedBody,
    InferRequest,
    ParameterValue,
    RequestedOutput,
)
from pelton.errors import BadResponse, Error, InvalidInput

__all__ = [
    "RESPONSE_BYTES_MAX",
    "Call",
    "Format",
    "IndexEntry",
    "InferOptions",
    "ModelMetadata",
    "Reply",
    "check_url",
    "embed_call",
    "get_call",
    "index_call",
    "infer_call",
    "load_call",
    "model_path",
    "read_done",
    "read_embeddings",
    "read_health",
    "read_index",
    "read_infer",
    "read_metadata",
    "read_models",
]

Format = Literal["binary", "json", "msgpack"]

RESPONSE_BYTES_MAX: Final = 1 << 30

_ACCEPT: Final[dict[str, str]] = {
    "binary": f"{OCTET_TYPE}, {JSON_TYPE}",
    "json": JSON_TYPE,
    "msgpack": f"{MSGPACK_TYPES[0]}, {JSON_TYPE};q=0.5",
}
_REPOSITORY: Final = "/v2/repository"
_DEADLINE_HEADER: Final = "Pelton-Deadline-Ms"
#: The leaf for an answer whose body has no code that we know.
_BY_STATUS: Final[dict[int, type[Error]]] = {
    400: errors.InvalidInput,
    404: errors.ModelNotFound,
    405: errors.MethodNotAllowed,
    406: errors.NotAcceptable,
    408: errors.RequestTimeout,
    413: errors.PayloadTooLarge,
    414: errors.UriTooLong,
    415: errors.UnsupportedMediaType,
    417: errors.ExpectationFailed,
    422: errors.InvalidInput,
    429: errors.QueueFull,
    431: errors.HeadersTooLarge,
    499: errors.Cancelled,
    500: errors.Internal,
    501: errors.UnsupportedModel,
    503: errors.Unavailable,
    504: errors.DeadlineExceeded,
}


@dataclass(frozen=True, slots=True)
class Call:
    """An HTTP request; `seconds` is how long it may take in all, None for the client's timeout."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer with its whole body; `headers` ignore case or are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata:
    """What a server says of a model."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """A version of a model in a server's repository. `state` is READY, UNAVAILABLE, LOADING or
    UNLOADING; it and `version` are empty for a model that was never loaded."""

    name: str
    version: str = ""
    state: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InferOptions:
    """How an inference request is sent and run; see `Client.infer`."""

    outputs: Sequence[str] | None = None
    version: str | None = None
    priority: int = 0
    deadline: float | None = None
    parameters: Mapping[str, ParameterValue] | None = None
    format: Format = "binary"


def check_url(url: str) -> str:
    """The URL of a server without a slash at its end; InvalidInput where it is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
        raise InvalidInput(
            f"{url!r} is not the URL of a server",
            expected="a URL such as http://127.0.0.1:8080",
            got=url,
        )
    return url.rstrip("/")


def model_path(model: str, version: str | None = None) -> str:
    """The path of a model; its name and version are percent-encoded whole."""
    if not model:
        raise InvalidInput("a model's name cannot be empty", expected="a name", got="''")
    path = f"/v2/models/{quote(model, safe='')}"
    return path if version is None else f"{path}/versions/{quote(version, safe='')}"


def get_call(path: str) -> Call:
    return Call("GET", path, {"Accept": JSON_TYPE})


def infer_call(model: str, inputs: Mapping[str, Any], options: InferOptions) -> Call:
    """Raises InvalidInput for inputs that no tensor can hold and options out of range."""
    if options.format not in _ACCEPT:
        raise InvalidInput(
            f"there is no format {options.format!r}",
            expected=", ".join(_ACCEPT),
            got=repr(options.format),
        )
    if options.priority < 0:
        raise InvalidInput(
            f"priority {options.priority} is below 0",
            expected=f"1 (first) to {PRIORITY_LEVELS}, or 0 for the default",
            got=str(options.priority),
        )
    binary = options.format == "binary"
    outputs = options.outputs
    request = InferRequest(
        inputs=tuple(to_tensor(name, value) for name, value in inputs.items()),
        outputs=None if outputs is None else tuple(RequestedOutput(n, binary) for n in outputs),
        parameters=dict(options.parameters or {}),
        binary_output_default=binary,
        priority=min(options.priority, PRIORITY_LEVELS) or PRIORITY_DEFAULT,
        timeout_us=_deadline_units(options.deadline, 1_000_000),
    )
    body = encode_infer_request(request, options.format)
    path = model_path(model, options.version) + "/infer"
    return _post(path, body, _ACCEPT[options.format], options.deadline)


def embed_call(
    model: str, texts: Sequence[str], *, truncate: bool | None, deadline: float | None
) -> Call:
    """Raises InvalidInput for texts that are none."""
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise InvalidInput(
            "texts must be a list of strings",
            expected="a list of strings",
            got=type(texts).__name__ if isinstance(texts, str) else "another kind of item",
        )
    request = EmbeddingsRequest(
        model=model, texts=tuple(texts), encoding_format="base64", truncate=truncate
    )
    call = _post("/v1/embeddings", encode_embeddings_request(request), JSON_TYPE, deadline)
    if deadline is None:
        return call
    wait_ms = str(_deadline_units(deadline, 1000))
    headers = {**call.headers, _DEADLINE_HEADER: wait_ms}
    return Call(call.method, call.path, headers, call.content, call.seconds)


def _post(path: str, body: EncodedBody, accept: str, deadline: float | None) -> Call:
    headers = {"Content-Type": body.content_type, "Accept": accept, **body.headers}
    return Call("POST", path, headers, body.to_bytes(), deadline)


def _deadline_units(deadline: float | None, units_per_second: int) -> int:
    """A deadline in whole units, at least 1: 0 would mean none."""
    if deadline is None:
        return 0
    if not 0 < deadline < 1e9:
        raise InvalidInput(
            f"deadline {deadline} is not a time to wait",
            expected="seconds, more than 0",
            got=str(deadline),
        )
    return max(1, math.ceil(deadline * units_per_second))


def read_infer(reply: Reply) -> dict[str, Array]:
    """The outputs by name; BF16 comes as float32, BYTES as an array of bytes objects."""
    _raise_for_status(reply)
    try:
        response = decode_infer_response(reply.headers, reply.body, _limits(reply))
    except Error as error:
        raise _unreadable(error) from error
    return {tensor.name: to_array(tensor) for tensor in response.outputs}


def read_embeddings(reply: Reply) -> Array:
    """The vectors, float32 [n, hidden]."""
    _raise_for_status(reply)
    try:
        return decode_embeddings_response(reply.body, _limits(reply)).vectors
    except Error as error:
        raise _unreadable(error) from error


def read_health(reply: Reply) -> bool:
    """Whether the server or model is live or ready: yes with 200; no with 503, or with 400, which
    some servers of the protocol send; anything else is an error."""
    if reply.status in (400, 503):
        return False
    _raise_for_status(reply)
    return True


def read_models(reply: Reply) -> list[str]:
    """The names of the models of a server."""
    members = _read_object(reply)
    names = members.get("models")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadResponse("the server's list of models is not one", expected='{"models": [name]}')
    return names


def index_call() -> Call:
    return Call("POST", f"{_REPOSITORY}/index", {"Accept": JSON_TYPE})


def load_call(model: str, *, unloads: bool = False) -> Call:
    model_path(model)  # raises for a name that is none
    verb = "unload" if unloads else "load"
    path = f"{_REPOSITORY}/models/{quote(model, safe='')}/{verb}"
    return Call("POST", path, {"Accept": JSON_TYPE})


def read_index(reply: Reply) -> list[IndexEntry]:
    """Raises BadResponse for what is no index."""
    _raise_for_status(reply)
    try:
        return [
            IndexEntry(
                name=_text(row["name"]),
                **{key: _text(row.get(key, "")) for key in ("version", "state", "reason")},
            )
            for row in json.loads(reply.body)
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadResponse(
            f"the server's index cannot be read: {error!r}", expected='[{"name", "version"?, …}]'
        ) from None


def read_done(reply: Reply) -> None:
    """An answer that says nothing but that it was done."""
    _raise_for_status(reply)


def read_metadata(reply: Reply) -> ModelMetadata:
    """Raises BadResponse where a member that the protocol demands is missing or of another kind."""
    members = _read_object(reply)
    try:
        return ModelMetadata(
            name=_text(members["name"]),
            versions=tuple(map(_text, members.get("versions") or ())),
            platform=_text(members["platform"]),
            inputs=tuple(map(_read_spec, members["inputs"])),
            outputs=tuple(map(_read_spec, members["outputs"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadResponse(f"the server's metadata of a model is not readable: {error}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def _read_spec(value: Any) -> TensorSpec:
    shape = [int(dim) for dim in value["shape"]]  # some servers write dimensions as strings
    datatype = _text(value["datatype"])
    if datatype not in DATATYPES or any(dim < -1 for dim in shape):
        raise ValueError(f"{datatype!r} {shape} is not a datatype and a shape")
    return TensorSpec(_text(value["name"]), datatype, tuple(shape))


def _read_object(reply: Reply) -> dict[str, Any]:
    _raise_for_status(reply)
    members = _parse_object(reply.body)
    if members is None:
        raise BadResponse(
            f"the server answered {reply.status} with a body that is not a JSON object"
        )
    return members


def _parse_object(body: bytes) -> dict[str, Any] | None:
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return members if isinstance(members, dict) else None


def _limits(reply: Reply) -> DecodeLimits:
    """An answer may be as large as its body, which was bounded when it was received."""
    size = max(len(reply.body), 1)
    return DecodeLimits(
        body_bytes_max=size,
        head_bytes_max=size,
        nodes_max=size,
        containers_max=size,
        string_bytes_max=size,
        tensors_max=1 << 16,
    )


def _unreadable(error: Error) -> BadResponse:
    return BadResponse(
        f"the server's answer is not readable: {error}",
        tensor=error.tensor,
        field=error.field,
        expected=error.expected,
        got=error.got,
        offset=error.offset,
    )


def _raise_for_status(reply: Reply) -> None:
    if not 200 <= reply.status < 300:
        raise _error_of(reply)


def _error_of(reply: Reply) -> Error:
    """The exception for an answer that is none: by its code, else by its status."""
    members = _parse_object(reply.body) or {}
    described = members.get("error")
    if isinstance(described, dict):  # the OpenAI API's shape
        members = {"error": described.get("message"), "code": described.get("code")}
    message = members.get("error") or members.get("detail")
    code = members.get("code")
    leaf = errors.leaf_for_code(code) if isinstance(code, str) else None
    leaf = leaf or _BY_STATUS.get(reply.status)
    text = message if isinstance(message, str) and message else f"status {reply.status}"
    if leaf is None:
        return BadResponse(f"the server answered {reply.status}: {text}")
    if leaf is errors.Internal and isinstance(members.get("request_id"), str):
        text = f"{text} (request id {members['request_id']})"
    return leaf(text, **_details(members, reply))


def _details(members: Mapping[str, Any], reply: Reply) -> dict[str, Any]:
    texts = ("tensor", "field", "expected", "got", "model", "version")
    details: dict[str, Any] = {
        name: members[name] for name in texts if isinstance(members.get(name), str)
    }
    for name in ("offset", "retry_after_ms"):
        if type(members.get(name)) is int:
            details[name] = members[name]
    if "retry_after_ms" not in details:
        wait_ms = _retry_after_ms(reply.headers)
        if wait_ms is not None:
            details["retry_after_ms"] = wait_ms
    return details


def _retry_after_ms(headers: Mapping[str, str]) -> int | None:
    for name, factor in (("retry-after-ms", 1), ("retry-after", 1000)):
        value = headers.get(name, "")
        if value.isascii() and value.isdigit() and len(value) < 10:
            return int(value) * factor
    return None
