"""The body of `/embed`, as clients of Text Embeddings Inference write and read it.

Source: huggingface/text-embeddings-inference `router/src/http/types.rs`. The reader is that of
`/v1/embeddings`: the same inputs under another name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pelton.codec._checks import (
    Where,
    check_body_size,
    describe,
    read_integer,
    read_map,
    read_name,
)
from pelton.codec._json import dump_json, parse_json
from pelton.codec._numbers import shortest_floats
from pelton.codec.embeddings import EmbeddingsLimits, read_input
from pelton.codec.negotiate import JSON_TYPE, check_json_type
from pelton.codec.types import DecodeLimits, EncodedBody
from pelton.errors import Error, to_body

__all__ = ["TeiRequest", "decode_embed", "encode_embed", "encode_tei_error"]

_INT32_MAX: Final = 2**31 - 1
_OVERLOADED: Final = ("queue_full", "out_of_memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class TeiRequest:
    """What to embed: `texts`, or `token_ids`; the other one is None.

    `model` is ours, for servers of several; `normalize` asks for rows of length 1.
    """

    texts: tuple[str, ...] | None = None
    token_ids: tuple[tuple[int, ...], ...] | None = None
    truncate: bool | None = None
    normalize: bool = True
    dimensions: int | None = None
    model: str | None = None


def decode_embed(
    headers: Mapping[str, str], body: bytes | memoryview, limits: DecodeLimits
) -> TeiRequest:
    """Raises InvalidInput, also for what no model here has (prompts, truncation on the left),
    PayloadTooLarge or UnsupportedMediaType."""
    check_json_type(headers)
    check_body_size(len(body), limits)
    members = read_map(parse_json(bytes(body), limits).value, Where(""))
    texts, token_ids = read_input(members.get("inputs"), EmbeddingsLimits(), Where("inputs"))
    _read_direction(members.get("truncation_direction"))
    if members.get("prompt_name") is not None:
        raise Where("prompt_name").refused("the model has no prompts")
    dimensions, model = members.get("dimensions"), members.get("model")
    normalize = _read_boolean(members.get("normalize"), "normalize")
    return TeiRequest(
        texts=texts,
        token_ids=token_ids,
        truncate=_read_boolean(members.get("truncate"), "truncate"),
        normalize=True if normalize is None else normalize,
        dimensions=None
        if dimensions is None
        else read_integer(dimensions, Where("dimensions"), 1, _INT32_MAX),
        model=None if model is None else read_name(model, Where("model"), limits),
    )


def _read_boolean(value: Any, name: str) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise Where(name).bad("true or false", describe(value))


def _read_direction(value: Any) -> None:
    # Both spellings have been in use.
    if value not in (None, "right", "Right"):
        raise Where("truncation_direction").bad('"right"', describe(value))


def encode_embed(vectors: npt.NDArray[np.float32]) -> EncodedBody:
    """Encode float32 `vectors` [n, hidden] as a list of lists."""
    rows, hidden = vectors.shape
    flat = shortest_floats(np.ascontiguousarray(vectors).reshape(-1), "FP32")
    document = [flat[index * hidden : (index + 1) * hidden] for index in range(rows)]
    return EncodedBody(JSON_TYPE, {}, (dump_json(document),))


def encode_tei_error(error: Error, instance: str, request_id: str) -> EncodedBody:
    """The problem document of `error` with a member `error_type`, a word that the API's clients
    know. Never raises for a leaf of the tree."""
    document = to_body(error, instance, request_id)
    if document["code"] in _OVERLOADED:
        kind = "Overloaded"
    elif document["status"] == 503:
        kind = "Unhealthy"
    else:
        kind = "Validation" if document["status"] < 500 else "Backend"
    return EncodedBody(JSON_TYPE, {}, (json.dumps({**document, "error_type": kind}).encode(),))
