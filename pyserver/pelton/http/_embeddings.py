"""POST /v1/embeddings, as OpenAI's clients use it."""

from __future__ import annotations

import time
from itertools import chain
from typing import Any

import numpy as np

from pelton.backends import InferOptions, RaggedIds
from pelton.codec.embeddings import EmbeddingsRequest, decode_embeddings, encode_embeddings
from pelton.errors import Error, InvalidInput, NotAcceptable
from pelton.http._answers import Answer
from pelton.http._exchange import Exchange
from pelton.http._infer import JSON_BYTES_PER_NUMBER, model_answer
from pelton.model import Model

__all__ = ["embeddings"]

_JSON = "application/json"


async def embeddings(exchange: Exchange) -> Answer:
    """Texts or token ids of one model; vectors as numbers or base64."""
    exchange.body_coding()
    _check_accept(exchange)
    body = await exchange.body()
    started = time.perf_counter()
    request = await exchange.off_loop(
        len(body), decode_embeddings, exchange.headers, body, exchange.state.limits
    )
    decode_s = time.perf_counter() - started
    model = exchange.state.ready_model(request.model)
    model.metrics.decode.observe(decode_s)
    try:
        inputs = _model_inputs(model, request)
        options = InferOptions(
            outputs=[model.embedding_output],
            deadline_ns=exchange.deadline_ns(0),
            truncate=request.truncate,
            exact_dtypes=True,
        )
    except Error as error:
        model.metrics.count(error.code)
        raise
    inference = await exchange.until_gone(model.infer_options(inputs, options))
    started = time.perf_counter()
    vectors = inference.outputs[model.embedding_output]
    base64 = request.encoding_format == "base64"
    work = vectors.nbytes if base64 else vectors.size * JSON_BYTES_PER_NUMBER
    encoded = await exchange.off_loop(
        work, encode_embeddings, vectors, request, inference.token_count
    )
    answer = await model_answer(exchange, encoded, inference, is_compressible=not base64)
    model.metrics.encode.observe(time.perf_counter() - started)
    return answer


def _check_accept(exchange: Exchange) -> None:
    accept = exchange.headers.get("accept", "*/*")
    if not any(kind in accept for kind in (_JSON, "application/*", "*/*")):
        raise NotAcceptable(
            f"Accept: the answer is {_JSON}, got {accept[:80]!r}",
            field="Accept",
            expected=_JSON,
            got=accept[:80],
        )


def _model_inputs(model: Model, request: EmbeddingsRequest) -> dict[str, Any]:
    """The request as the model's inputs. Raises `InvalidInput` where the model is none for it."""
    if not model.is_text_encoder:
        raise InvalidInput(
            f"model {request.model!r} makes no embeddings of texts",
            model=request.model,
            field="model",
        )
    hidden = next(s.shape[-1] for s in model.outputs if s.name == model.embedding_output)
    if request.dimensions not in (None, hidden):
        raise InvalidInput(
            f"dimensions: expected {hidden}, the model's own, got {request.dimensions}",
            field="dimensions",
            expected=str(hidden),
            got=str(request.dimensions),
        )
    if request.texts is not None:
        return {"text": request.texts}
    rows = request.token_ids or ()
    lengths = np.fromiter(map(len, rows), np.int32, len(rows))
    ids = np.fromiter(chain.from_iterable(rows), np.int32, int(lengths.sum(dtype=np.int64)))
    return {"input_ids": RaggedIds(ids, lengths)}
