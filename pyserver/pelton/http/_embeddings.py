"""POST /v1/embeddings, as OpenAI's clients use it, and POST /embed, as TEI's do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pelton.backends import Inference, InferOptions, RaggedIds
from pelton.codec.embeddings import decode_embeddings, encode_embeddings
from pelton.codec.tei import TeiRequest, decode_embed, encode_embed
from pelton.errors import Error, InvalidInput, NotAcceptable
from pelton.http._answers import Answer
from pelton.http._exchange import Exchange
from pelton.http._infer import JSON_BYTES_PER_NUMBER, model_answer
from pelton.model import Model

__all__ = ["embed", "embeddings"]

_JSON: Final = "application/json"
# Shorter rows are not stretched: a vector of zeros has no direction.
_NORM_MIN: Final = 1e-12


class _Wanted(NamedTuple):
    """What both routes ask of a model: `texts`, or `token_ids`; the other one is None."""

    texts: Sequence[str] | None
    token_ids: Sequence[Sequence[int]] | None
    truncate: bool | None
    dimensions: int | None


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
    model = exchange.use_model(request.model)
    model.metrics.decode.observe(decode_s)
    wanted = _Wanted(request.texts, request.token_ids, request.truncate, request.dimensions)
    inference = await _run(exchange, model, request.model, wanted)
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


async def embed(exchange: Exchange) -> Answer:
    """The same in TEI's shape: a list of vectors, always as numbers."""
    exchange.body_coding()
    _check_accept(exchange)
    body = await exchange.body()
    started = time.perf_counter()
    request = await exchange.off_loop(
        len(body), decode_embed, exchange.headers, body, exchange.state.limits
    )
    decode_s = time.perf_counter() - started
    name = request.model or _only_encoder(exchange)
    model = exchange.use_model(name)
    model.metrics.decode.observe(decode_s)
    _check_normalize(model, name, request)
    wanted = _Wanted(request.texts, request.token_ids, request.truncate, request.dimensions)
    inference = await _run(exchange, model, name, wanted)
    started = time.perf_counter()
    vectors = inference.outputs[model.embedding_output]
    if request.normalize and not _is_normalized(model):
        vectors = _normalize(vectors)
    work = vectors.size * JSON_BYTES_PER_NUMBER
    encoded = await exchange.off_loop(work, encode_embed, vectors)
    answer = await model_answer(exchange, encoded, inference)
    model.metrics.encode.observe(time.perf_counter() - started)
    answer.headers.extend(_compute_headers(exchange, request, inference))
    return answer


async def _run(exchange: Exchange, model: Model, name: str, wanted: _Wanted) -> Inference:
    try:
        inputs = _model_inputs(model, name, wanted)
        options = InferOptions(
            outputs=[model.embedding_output],
            deadline_ns=exchange.deadline_ns(0),
            truncate=wanted.truncate,
            exact_dtypes=True,
        )
    except Error as error:
        model.metrics.count(error.code)
        raise
    return await exchange.until_gone(model.infer_options(inputs, options))


def _check_accept(exchange: Exchange) -> None:
    accept = exchange.headers.get("accept", "*/*")
    if not any(kind in accept for kind in (_JSON, "application/*", "*/*")):
        raise NotAcceptable(
            f"Accept: the answer is {_JSON}, got {accept[:80]!r}",
            field="Accept",
            expected=_JSON,
            got=accept[:80],
        )


def _model_inputs(model: Model, name: str, wanted: _Wanted) -> dict[str, Any]:
    """The request as the model's inputs. Raises `InvalidInput` where the model is none for it."""
    if not model.is_text_encoder:
        raise InvalidInput(
            f"model {name!r} makes no embeddings of texts",
            model=name,
            field="model",
        )
    hidden = next(s.shape[-1] for s in model.outputs if s.name == model.embedding_output)
    if wanted.dimensions not in (None, hidden):
        raise InvalidInput(
            f"dimensions: expected {hidden}, the model's own, got {wanted.dimensions}",
            field="dimensions",
            expected=str(hidden),
            got=str(wanted.dimensions),
        )
    if wanted.texts is not None:
        return {"text": wanted.texts}
    rows = wanted.token_ids or ()
    lengths = np.fromiter(map(len, rows), np.int32, len(rows))
    ids = np.fromiter(chain.from_iterable(rows), np.int32, int(lengths.sum(dtype=np.int64)))
    return {"input_ids": RaggedIds(ids, lengths)}


def _only_encoder(exchange: Exchange) -> str:
    """The model of a request that names none, as those of TEI's clients do not."""
    names = [name for name, model in exchange.state.models.items() if model.is_text_encoder]
    if len(names) != 1:
        expected = f"one of {', '.join(names)}" if names else "a text encoder, and there is none"
        raise InvalidInput(
            f"model: expected {expected}, got none",
            field="model",
            expected=expected,
            got="none",
        )
    return names[0]


def _is_normalized(model: Model) -> bool:
    return bool(model.metadata.get("encoder", {}).get("normalized", False))


def _check_normalize(model: Model, name: str, request: TeiRequest) -> None:
    if not request.normalize and _is_normalized(model):
        raise InvalidInput(
            f"normalize: expected true, model {name!r} gives vectors of length 1 only, got false",
            field="normalize",
            expected="true",
            got="false",
        )


def _normalize(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: npt.NDArray[np.float32] = vectors / np.maximum(norms, np.float32(_NORM_MIN))
    return scaled


def _compute_headers(
    exchange: Exchange, request: TeiRequest, inference: Inference
) -> list[tuple[bytes, bytes]]:
    """Those of TEI's headers that say something here; times are in milliseconds."""
    elapsed_ms = (time.monotonic_ns() - exchange.arrived_ns) // 1_000_000
    return [
        (b"x-compute-type", b"cpu"),
        (b"x-compute-time", b"%d" % elapsed_ms),
        (b"x-total-time", b"%d" % elapsed_ms),
        (b"x-compute-characters", b"%d" % sum(map(len, request.texts or ()))),
        (b"x-compute-tokens", b"%d" % inference.token_count),
    ]
