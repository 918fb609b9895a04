"""POST /v2/models/{model}[/versions/{version}]/infer: JSON, binary tensors, msgpack."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pelton.backends import Inference, InferOptions
from pelton.codec import AnswerFormat, answer_format, decode_infer, encode_infer, request_format
from pelton.codec.classification import classify
from pelton.codec.types import EncodedBody, InferRequest, InferResponse, Tensor, datatype_of
from pelton.errors import Error, InvalidInput
from pelton.http._answers import Answer, encoded_answer
from pelton.http._coding import compress
from pelton.http._exchange import Exchange
from pelton.http._shared_memory import SharedTensors, uses_memory
from pelton.model import Model

__all__ = ["JSON_BYTES_PER_NUMBER", "infer", "model_answer"]

#: Printing a number as JSON takes about as long as copying so many bytes.
JSON_BYTES_PER_NUMBER: Final = 64
# Compressing a byte takes as long as copying so many.
_COMPRESSION_BYTES_PER_BYTE: Final = 8
_ID_DATATYPES: Final = ("INT64", "INT32")
_BYTES: Final = "BYTES"


async def infer(exchange: Exchange) -> Answer:
    """Each stage may end the request: head, decode, queue and execution, encode."""
    params = exchange.path_params
    model = exchange.use_model(params["model"], params.get("version"))
    memory: SharedTensors | None = None
    try:
        exchange.body_coding()
        answer_in = answer_format(exchange.headers, request_format(exchange.headers))
        body = await exchange.body()
        started = time.perf_counter()
        request = await exchange.off_loop(
            len(body), decode_infer, exchange.headers, body, exchange.state.limits, model.inputs
        )
        if uses_memory(request):
            memory = SharedTensors(exchange, request)
            request = await memory.open()
        inputs = _model_inputs(model, request)
        options = _options(exchange, request)
        model.metrics.decode.observe(time.perf_counter() - started)
    except Error as error:
        model.metrics.count(error.code)
        raise
    inference = await exchange.until_gone(model.infer_options(inputs, options))
    return await _encode(exchange, model, answer_in, request, inference, memory)


def _model_inputs(model: Model, request: InferRequest) -> dict[str, Any]:
    """The request's tensors by name, each once and of the model's datatype; the rest of its
    contract is checked by the model. Raises `InvalidInput`."""
    datatypes = _input_datatypes(model)
    inputs: dict[str, Any] = {}
    for tensor in request.inputs:
        name = tensor.name
        if name in inputs:
            raise _wrong(name, "it once", "it twice")
        expected = datatypes.get(name, (tensor.datatype,))
        if tensor.datatype not in expected:
            raise _wrong(name, f"datatype {' or '.join(expected)}", tensor.datatype)
        if tensor.datatype == _BYTES:
            inputs[name] = _strings(tensor, texts=model.is_text_encoder)
        else:
            inputs[name] = tensor.data
    return inputs


def _strings(tensor: Tensor, *, texts: bool) -> Any:
    """Texts as a list, for encoders; else an array of objects in the tensor's shape."""
    if texts:
        if len(tensor.shape) != 1:
            raise _wrong(tensor.name, "shape [-1]", str(list(tensor.shape)))
        return tensor.elements
    array = np.empty(len(tensor.elements), dtype=object)
    array[:] = tensor.elements
    return array.reshape(tensor.shape)


def _wrong(tensor: str, expected: str, got: str) -> InvalidInput:
    return InvalidInput(
        f"input {tensor!r}: expected {expected}, got {got}",
        tensor=tensor,
        expected=expected,
        got=got,
    )


def _input_datatypes(model: Model) -> Mapping[str, tuple[str, ...]]:
    """Token ids may come as INT64 or INT32; everything else as the model says."""
    found: dict[str, tuple[str, ...]] = {spec.name: (spec.dtype,) for spec in model.inputs}
    ids = model.alternative_inputs or (model.inputs if model.takes_ids else ())
    return found | {spec.name: _ID_DATATYPES for spec in ids}


def _options(exchange: Exchange, request: InferRequest) -> InferOptions:
    outputs = request.outputs
    return InferOptions(
        outputs=None if outputs is None else [output.name for output in outputs],
        deadline_ns=exchange.deadline_ns(request.timeout_us),
        priority=request.priority,
        truncate=request.truncate,
        exact_dtypes=True,
    )


async def _encode(
    exchange: Exchange,
    model: Model,
    answer_in: AnswerFormat,
    request: InferRequest,
    inference: Inference,
    memory: SharedTensors | None,
) -> Answer:
    started = time.perf_counter()
    numbers = sum(array.size for array in inference.outputs.values())
    response = InferResponse(
        model_name=exchange.path_params["model"],
        model_version=model.version,
        outputs=await exchange.off_loop(numbers, _tensors, model, request, inference),
    )
    if memory is not None:
        request = await memory.put(response)
    work = numbers * JSON_BYTES_PER_NUMBER
    body = await exchange.off_loop(work, encode_infer, response, request, answer_in)
    answer = await model_answer(exchange, body, inference)
    model.metrics.encode.observe(time.perf_counter() - started)
    return answer


def _tensors(model: Model, request: InferRequest, inference: Inference) -> tuple[Tensor, ...]:
    """The outputs, or their classes where those are asked for. Raises `InvalidInput`."""
    counts = {output.name: output.classification for output in request.outputs or ()}
    tensors = []
    for name, array in inference.outputs.items():
        tensor = Tensor(name, datatype_of(array.dtype) or "", array.shape, _data(array))
        if count := counts.get(name, 0):
            tensor = classify(tensor, count, model.labels, batched=True)
        tensors.append(tensor)
    return tuple(tensors)


def _data(array: npt.NDArray[Any]) -> npt.NDArray[Any] | list[bytes]:
    if array.dtype.kind != "O":
        return array
    return [str(text).encode() for text in array.reshape(-1).tolist()]


async def model_answer(
    exchange: Exchange, body: EncodedBody, inference: Inference, *, is_compressible: bool = True
) -> Answer:
    """What a model said: not to be stored, with the count of the texts that were cut, and
    compressed where it is large and the client asks for it."""
    answer = encoded_answer(body)
    answer.headers.append((b"cache-control", b"no-store"))
    if inference.truncated:
        answer.headers.append((b"pelton-truncated", b"%d" % inference.truncated))
    size = answer.content_length
    if not is_compressible or size < exchange.state.settings.compress_bytes_min:
        return answer
    answer.headers.append((b"vary", b"Accept-Encoding"))
    coding = exchange.answer_coding
    if coding is None:
        return answer
    work = size * _COMPRESSION_BYTES_PER_BYTE
    compressed = await exchange.off_loop(work, compress, coding, answer.chunks)
    if compressed is None:
        return answer
    headers = [*answer.headers, (b"content-encoding", coding.encode())]
    return Answer(answer.status, (compressed,), headers)
