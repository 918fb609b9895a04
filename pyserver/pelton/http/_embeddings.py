"""POST /v1/embeddings, as OpenAI's clients use it (openai/openai-openapi, CreateEmbeddingRequest).

Their Python client asks for base64 unless told otherwise, so that form is the one made fast: the
rows are encoded straight from the engine's output.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pelton.backends import Inference, InferOptions, RaggedIds
from pelton.codec._json import parse_json
from pelton.codec._numbers import shortest_floats
from pelton.errors import Error, InvalidInput, NotAcceptable, UnsupportedMediaType
from pelton.http._answers import JSON, Answer, dump_json
from pelton.http._exchange import Exchange
from pelton.model import Model

__all__ = ["EmbeddingRequest", "embeddings", "parse_request"]

_ITEMS_MAX: Final = 2048
_SHOWN_MAX: Final = 60
_FORMATS: Final = ("float", "base64")
_JSON_BYTES_PER_NUMBER: Final = 64
_ID_MIN, _ID_MAX = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingRequest:
    """A decoded body. `inputs` are texts, or token ids without padding."""

    model: str
    inputs: list[str] | RaggedIds
    base64: bool
    dimensions: int | None
    truncate: bool | None


def _shown(value: Any) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 1] + "…"


def _wrong(field: str, expected: str, got: str) -> InvalidInput:
    return InvalidInput(
        f"{field}: expected {expected}, got {got}", field=field, expected=expected, got=got
    )


def parse_request(members: Any) -> EmbeddingRequest:
    """A request from its parsed JSON. Unknown members are ignored, as OpenAI does. Raises
    `InvalidInput` naming the member."""
    if not isinstance(members, dict):
        raise InvalidInput("expected a JSON object", expected="an object", got=_shown(members))
    model = members.get("model")
    if not isinstance(model, str):
        raise _wrong("model", "the name of a model", _shown(model))
    form = members.get("encoding_format")
    if form is not None and form not in _FORMATS:
        raise _wrong("encoding_format", " or ".join(_FORMATS), _shown(form))
    dimensions = members.get("dimensions")
    is_count = isinstance(dimensions, int) and not isinstance(dimensions, bool) and dimensions > 0
    if dimensions is not None and not is_count:
        raise _wrong("dimensions", "an integer of at least 1", _shown(dimensions))
    truncate = members.get("truncate")
    if truncate is not None and not isinstance(truncate, bool):
        raise _wrong("truncate", "true or false", _shown(truncate))
    user = members.get("user")
    if user is not None and not isinstance(user, str):
        raise _wrong("user", "a string", _shown(user))
    inputs = _parse_input(members.get("input"))
    return EmbeddingRequest(model, inputs, form == "base64", dimensions, truncate)


def _parse_input(value: Any) -> list[str] | RaggedIds:
    """A text, a list of texts, one list of token ids, or a list of such lists."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise _wrong("input", "a text, a list of texts, or token ids", _shown(value))
    if not value:
        raise _wrong("input", "at least one item", "an empty list")
    kinds = set(map(type, value))
    if kinds == {int}:
        return _ids([value])
    if len(value) > _ITEMS_MAX:
        raise _wrong("input", f"at most {_ITEMS_MAX} items", f"{len(value)}")
    if kinds == {str}:
        return value
    if kinds == {list}:
        return _ids(value)
    first = type(value[0])
    at = next((index for index, item in enumerate(value) if type(item) is not first), 0)
    at = at if first in (str, int, list) else 0
    expected = {str: "a text", int: "a token id", list: "a list of token ids"}.get(
        first, "a text or token ids"
    )
    raise _wrong(f"input[{at}]", expected, _shown(value[at]))


def _ids(rows: Sequence[Sequence[Any]]) -> RaggedIds:
    for index, row in enumerate(rows):
        if not row:
            raise _wrong(f"input[{index}]", "at least one token id", "an empty list")
        if set(map(type, row)) != {int}:
            at = next(place for place, item in enumerate(row) if type(item) is not int)
            raise _wrong(f"input[{index}][{at}]", "a token id", _shown(row[at]))
        if not _ID_MIN <= min(row) <= max(row) <= _ID_MAX:
            raise _wrong(f"input[{index}]", "token ids of 64 bits", "a larger number")
    lengths = np.fromiter(map(len, rows), np.int32, len(rows))
    count = int(lengths.sum(dtype=np.int64))
    return RaggedIds(np.fromiter(chain.from_iterable(rows), np.int64, count), lengths)


async def embeddings(exchange: Exchange) -> Answer:
    _check_types(exchange)
    body = await exchange.body()
    started = time.perf_counter()
    document = await exchange.off_loop(len(body), parse_json, body, exchange.state.limits)
    request = await exchange.off_loop(len(body), parse_request, document.value)
    decode_s = time.perf_counter() - started
    model = exchange.state.ready_model(request.model)
    model.metrics.decode.observe(decode_s)
    try:
        inputs = _model_inputs(model, request)
        deadline_ns = exchange.deadline_ns(0)
    except Error as error:
        model.metrics.count(error.code)
        raise
    options = InferOptions(
        outputs=[model.embedding_output],
        deadline_ns=deadline_ns,
        truncate=request.truncate,
        exact_dtypes=True,
    )
    exchange.begin_work()
    try:
        inference = await model.infer_options(inputs, options)
    finally:
        exchange.end_work()
    return await _encode(exchange, model, request, inference)


def _check_types(exchange: Exchange) -> None:
    exchange.check_coding()
    kind = (exchange.header(b"content-type") or JSON).partition(";")[0].strip().lower()
    if kind not in (JSON, "application/octet-stream") and not kind.endswith("+json"):
        raise UnsupportedMediaType(
            f"Content-Type: expected {JSON}, got {kind[:60]!r}",
            field="Content-Type",
            expected=JSON,
            got=kind[:60],
        )
    accept = exchange.header(b"accept")
    if accept and not any(kind in accept for kind in (JSON, "application/*", "*/*")):
        raise NotAcceptable(
            f"Accept: the answer is {JSON}, got {accept[:80]!r}",
            field="Accept",
            expected=JSON,
            got=accept[:80],
        )


def _model_inputs(model: Model, request: EmbeddingRequest) -> dict[str, Any]:
    if not model.is_text_encoder:
        raise InvalidInput(
            f"model {request.model!r} makes no embeddings of texts",
            model=request.model,
            field="model",
        )
    hidden = next(s.shape[-1] for s in model.outputs if s.name == model.embedding_output)
    if request.dimensions not in (None, hidden):
        raise _wrong("dimensions", f"{hidden}, the model's own", str(request.dimensions))
    if isinstance(request.inputs, RaggedIds):
        return {"input_ids": request.inputs}
    return {"text": request.inputs}


async def _encode(
    exchange: Exchange, model: Model, request: EmbeddingRequest, inference: Inference
) -> Answer:
    started = time.perf_counter()
    vectors = inference.outputs[model.embedding_output]
    work = vectors.nbytes if request.base64 else vectors.size * _JSON_BYTES_PER_NUMBER
    body = await exchange.off_loop(
        work, _write, vectors, request.base64, request.model, inference.token_count
    )
    headers = [(b"content-type", JSON.encode()), (b"cache-control", b"no-store")]
    if inference.truncated:
        headers.append((b"pelton-truncated", b"%d" % inference.truncated))
    model.metrics.encode.observe(time.perf_counter() - started)
    return Answer(200, (body,), headers)


def _write(vectors: npt.NDArray[np.float32], base64: bool, model: str, token_count: int) -> bytes:
    """The answer's JSON; base64 is of little-endian float32, as the engine writes it."""
    if base64:
        written = [b'"%b"' % b64encode(row.data) for row in vectors]
    else:
        numbers = shortest_floats(vectors.reshape(-1), "FP32")
        width = vectors.shape[1]
        written = [
            dump_json(numbers[begin : begin + width]) for begin in range(0, len(numbers), width)
        ]
    data = b",".join(
        b'{"object":"embedding","index":%d,"embedding":%b}' % (index, vector)
        for index, vector in enumerate(written)
    )
    return b'{"object":"list","data":[%b],"model":%b,"usage":%b}' % (
        data,
        dump_json(model),
        dump_json({"prompt_tokens": token_count, "total_tokens": token_count}),
    )
