"""The body of `/v1/embeddings`, as the openai clients write and read it.

Source: openai/openai-openapi, `CreateEmbeddingRequest`. The official Python client asks for base64
whenever its caller named no format, so that is the path that is kept free of copies.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from pelton.codec._checks import (
    Where,
    check_body_size,
    describe,
    read_integer,
    read_list,
    read_map,
    read_name,
    read_text,
)
from pelton.codec._json import dump_json, parse_json
from pelton.codec._numbers import shortest_floats
from pelton.codec.negotiate import JSON_TYPE, check_json_type
from pelton.codec.types import DecodeLimits, EncodedBody
from pelton.errors import Error, Internal, to_body

__all__ = [
    "Embeddings",
    "EmbeddingsLimits",
    "EmbeddingsRequest",
    "decode_embeddings",
    "decode_embeddings_response",
    "encode_embeddings",
    "encode_embeddings_request",
    "encode_openai_error",
    "read_input",
    "to_openai_body",
]

EncodingFormat = Literal["float", "base64"]

_INT32_MAX: Final = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingsLimits:
    """Bounds of one request: inputs in it, and tokens in an input that comes as token ids.

    The bytes of a text are bounded where texts are tokenized.
    """

    items_max: int = 2048
    tokens_max: int = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingsRequest:
    """What to embed: `texts`, or `token_ids`; the other one is None, and neither is empty.

    - `dimensions` asks for shorter vectors, `truncate` says what to do with inputs over the model's
      limit; None leaves each to the model.
    """

    model: str
    texts: tuple[str, ...] | None = None
    token_ids: tuple[tuple[int, ...], ...] | None = None
    encoding_format: EncodingFormat = "float"
    dimensions: int | None = None
    truncate: bool | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """An answer: `vectors` is float32 [n, hidden], in the order of the inputs."""

    vectors: npt.NDArray[np.float32]
    model: str
    prompt_tokens: int


def decode_embeddings(
    headers: Mapping[str, str],
    body: bytes | memoryview,
    limits: DecodeLimits,
    embeddings: EmbeddingsLimits | None = None,
) -> EmbeddingsRequest:
    """Raises InvalidInput, PayloadTooLarge or UnsupportedMediaType."""
    check_json_type(headers)
    check_body_size(len(body), limits)
    bounds = embeddings or EmbeddingsLimits()
    members = read_map(parse_json(bytes(body), limits).value, Where(""))
    texts, token_ids = read_input(members.get("input"), bounds, Where("input"))
    return EmbeddingsRequest(
        model=read_name(members.get("model"), Where("model"), limits),
        texts=texts,
        token_ids=token_ids,
        encoding_format=_read_format(members.get("encoding_format")),
        dimensions=_optional_integer(members.get("dimensions"), "dimensions"),
        truncate=_optional_boolean(members.get("truncate"), "truncate"),
        user=_optional_text(members.get("user"), "user", limits),
    )


def read_input(
    value: Any, bounds: EmbeddingsLimits, where: Where
) -> tuple[tuple[str, ...] | None, tuple[tuple[int, ...], ...] | None]:
    """Texts or token ids, in the four forms that they come in; the other one is None. Raises
    InvalidInput."""
    if isinstance(value, str):
        return (_read_string(value, where),), None
    expected = "a string, or an array of strings, of token ids or of arrays of token ids"
    if not isinstance(value, list):
        raise where.bad(expected, describe(value))
    if not value:
        raise where.bad(expected, "an empty array")
    if isinstance(value[0], bool) or not isinstance(value[0], (str, int, list)):
        raise where.item(0).bad("a string or token ids", describe(value[0]))
    if isinstance(value[0], int):
        return None, (_read_tokens(value, where, bounds),)
    items = read_list(value, where, bounds.items_max)
    if isinstance(value[0], str):
        return tuple(
            _read_string(item, where.item(index)) for index, item in enumerate(items)
        ), None
    return None, tuple(
        _read_tokens(item, where.item(index), bounds) for index, item in enumerate(items)
    )


def _read_string(value: Any, where: Where) -> str:
    if not isinstance(value, str):
        raise where.bad("a string, as the first item is one", describe(value))
    if not value:
        raise where.bad("a string of at least one character", "an empty string")
    return value


def _read_tokens(value: Any, where: Where, bounds: EmbeddingsLimits) -> tuple[int, ...]:
    tokens = read_list(value, where, bounds.tokens_max)
    if not tokens:
        raise where.bad("at least one token id", "an empty array")
    for index, token in enumerate(tokens):
        read_integer(token, where.item(index), 0, _INT32_MAX)
    return tuple(tokens)


def _read_format(value: Any) -> EncodingFormat:
    if value is None or value == "float":
        return "float"
    if value == "base64":
        return "base64"
    raise Where("encoding_format").bad('"float" or "base64"', describe(value))


def _optional_integer(value: Any, name: str) -> int | None:
    return None if value is None else read_integer(value, Where(name), 1, _INT32_MAX)


def _optional_boolean(value: Any, name: str) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise Where(name).bad("true or false", describe(value))


def _optional_text(value: Any, name: str, limits: DecodeLimits) -> str | None:
    return None if value is None else read_text(value, Where(name), limits.string_bytes_max)


def encode_embeddings(
    vectors: npt.NDArray[np.float32], request: EmbeddingsRequest, prompt_tokens: int
) -> EncodedBody:
    """Encode float32 `vectors` [n, hidden], one row an input, in the format that was asked for."""
    rows = np.ascontiguousarray(vectors, dtype="<f4")
    if rows.ndim != 2:
        raise Internal(f"embeddings have shape {rows.shape}, not [n, hidden]")
    encoded: list[Any]
    if request.encoding_format == "base64":
        encoded = [base64.b64encode(row.data).decode("ascii") for row in rows]
    else:
        flat, hidden = shortest_floats(rows.reshape(-1), "FP32"), rows.shape[1]
        encoded = [flat[index * hidden : (index + 1) * hidden] for index in range(rows.shape[0])]
    document = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": embedding}
            for index, embedding in enumerate(encoded)
        ],
        "model": request.model,
        "usage": {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens},
    }
    return EncodedBody(JSON_TYPE, {}, (dump_json(document),))


def encode_embeddings_request(request: EmbeddingsRequest) -> EncodedBody:
    """Encode a request as a client sends it; members left to the model are left out."""
    inputs: Sequence[Any] = request.texts if request.texts is not None else request.token_ids or ()
    document: dict[str, Any] = {
        "model": request.model,
        "input": [*inputs],
        "encoding_format": request.encoding_format,
    }
    for name in ("dimensions", "truncate", "user"):
        value = getattr(request, name)
        if value is not None:
            document[name] = value
    return EncodedBody(JSON_TYPE, {}, (dump_json(document),))


def decode_embeddings_response(body: bytes | memoryview, limits: DecodeLimits) -> Embeddings:
    """Read an answer of either format; raises InvalidInput where it is not of this form."""
    members = read_map(parse_json(bytes(body), limits).value, Where(""))
    where = Where("data")
    rows: dict[int, npt.NDArray[np.float32]] = {}
    items = read_list(members.get("data"), where, limits.containers_max)
    for position, item in enumerate(items):
        place = where.item(position)
        row = read_map(item, place)
        index = read_integer(row.get("index"), place.at("index"), 0, len(items) - 1)
        rows[index] = _read_vector(row.get("embedding"), place.at("embedding"))
    if len(rows) != len(items) or len({row.shape for row in rows.values()}) > 1:
        raise where.refused("expected one vector of the same length for each index")
    usage = read_map(members.get("usage"), Where("usage"))
    vectors = np.stack([rows[index] for index in range(len(rows))]) if rows else np.empty((0, 0))
    return Embeddings(
        vectors.astype(np.float32, copy=False),
        read_text(members.get("model"), Where("model"), limits.string_bytes_max),
        read_integer(usage.get("prompt_tokens"), Where("usage.prompt_tokens"), 0, 2**63 - 1),
    )


def _read_vector(value: Any, where: Where) -> npt.NDArray[np.float32]:
    if isinstance(value, str):
        try:
            raw = base64.b64decode(value, validate=True)
            return np.frombuffer(raw, dtype="<f4")
        except (binascii.Error, ValueError):
            raise where.bad("base64 of 32-bit floats", describe(value)) from None
    if not isinstance(value, list) or not set(map(type, value)) <= {int, float}:
        raise where.bad("an array of numbers or a base64 string", describe(value))
    try:
        with np.errstate(over="ignore"):
            return np.array(value, dtype=np.float64).astype(np.float32)
    except OverflowError:
        raise where.bad("32-bit numbers", "an integer too large") from None


_TYPES_BY_STATUS: Final = {401: "authentication_error", 429: "rate_limit_error"}


def to_openai_body(error: Error) -> dict[str, Any]:
    """The error document of the OpenAI API: a message, a type, the parameter at fault and a
    code."""
    document = to_body(error, "", "")
    status = document["status"]
    kind = _TYPES_BY_STATUS.get(status)
    if kind is None:
        kind = "server_error" if status >= 500 else "invalid_request_error"
    field = document.get("field")
    return {
        "error": {
            "message": document["detail"],
            "type": kind,
            "param": None if field is None else field.partition("[")[0],
            "code": document["code"],
        }
    }


def encode_openai_error(error: Error) -> EncodedBody:
    """Encode `to_openai_body`. Never raises for a leaf of the tree."""
    return EncodedBody(JSON_TYPE, {}, (json.dumps(to_openai_body(error)).encode(),))
