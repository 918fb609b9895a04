"""POST /v2/models/{model}[/versions/{version}]/infer: JSON, binary tensors, msgpack."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pelton.backends import Inference, InferOptions
from pelton.codec import oip_binary
from pelton.codec.types import (
    InferRequest,
    InferResponse,
    Tensor,
    TensorSpec,
    datatype_of,
)
from pelton.errors import Error, InvalidInput
from pelton.http._answers import Answer, encoded_answer
from pelton.http._content import Format, answer_format, request_format
from pelton.http._exchange import Exchange
from pelton.model import Model

__all__ = ["infer"]

_HEAD_LENGTH: Final = b"inference-header-content-length"
# Printing a number as JSON takes about as long as copying so many bytes of it.
_JSON_BYTES_PER_NUMBER: Final = 64
_ID_DATATYPES: Final = ("INT64", "INT32")
_TEXT_DATATYPE: Final = "BYTES"


async def infer(exchange: Exchange) -> Answer:
    """Each stage may end the request: head, decode, queue and execution, encode."""
    params = exchange.path_params
    model = exchange.state.ready_model(params["model"], params.get("version"))
    try:
        exchange.check_coding()
        head_length = exchange.header(_HEAD_LENGTH)
        asked_in = request_format(exchange.header(b"content-type"), head_length is not None)
        answer_in = answer_format(exchange.header(b"accept"), asked_in)
        body = await exchange.body()
        request = await _decode(exchange, model, asked_in, head_length, body)
        inputs = _model_inputs(model, request)
        options = _options(exchange, request)
    except Error as error:
        model.metrics.count(error.code)
        raise
    exchange.begin_work()
    try:
        inference = await model.infer_options(inputs, options)
    finally:
        exchange.end_work()
    return await _encode(exchange, model, answer_in, request, inference)


async def _decode(
    exchange: Exchange, model: Model, asked_in: Format, head_length: str | None, body: bytes
) -> InferRequest:
    started = time.perf_counter()
    limits = exchange.state.limits
    specs = _codec_specs(model.inputs)
    if asked_in is Format.MSGPACK:
        # Loaded when first used: most servers never see it.
        from pelton.codec import msgpack

        request = await exchange.off_loop(len(body), msgpack.decode_request, body, limits, specs)
    elif head_length is not None:
        head_bytes = oip_binary.parse_head_length(head_length, len(body))
        request = await exchange.off_loop(
            head_bytes, oip_binary.decode_request, body, head_bytes, limits, specs
        )
    else:
        from pelton.codec import oip_json

        request = await exchange.off_loop(len(body), oip_json.decode_request, body, limits)
    model.metrics.decode.observe(time.perf_counter() - started)
    return request


def _codec_specs(specs: Sequence[Any]) -> list[TensorSpec]:
    return [TensorSpec(spec.name, spec.dtype, spec.shape) for spec in specs]


def _model_inputs(model: Model, request: InferRequest) -> dict[str, Any]:
    """The request's tensors by name, their datatypes those of the model. Raises `InvalidInput`."""
    datatypes = _input_datatypes(model)
    inputs: dict[str, Any] = {}
    for tensor in request.inputs:
        name = tensor.name
        if name in inputs:
            raise InvalidInput(f"input {name!r}: it comes twice", tensor=name, expected="one")
        # What the model has no input for is refused by the model, which knows them all.
        expected = datatypes.get(name, (tensor.datatype,))
        if tensor.datatype not in expected:
            raise InvalidInput(
                f"input {name!r}: expected datatype {' or '.join(expected)}, got {tensor.datatype}",
                tensor=name,
                expected=" or ".join(expected),
                got=tensor.datatype,
            )
        if tensor.datatype == _TEXT_DATATYPE and len(tensor.shape) != 1:
            raise InvalidInput(
                f"input {name!r}: expected shape [-1], got {list(tensor.shape)}",
                tensor=name,
                expected="[-1]",
                got=str(list(tensor.shape)),
            )
        inputs[name] = tensor.data
    return inputs


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
    answer_in: Format,
    request: InferRequest,
    inference: Inference,
) -> Answer:
    started = time.perf_counter()
    tensors = tuple(
        Tensor(name, datatype_of(array.dtype) or "", array.shape, array)
        for name, array in inference.outputs.items()
    )
    response = InferResponse(
        model_name=exchange.path_params["model"],
        model_version=model.version,
        outputs=tensors,
        id=request.id,
    )
    work = sum(array.nbytes for array in inference.outputs.values())
    if answer_in is Format.MSGPACK:
        from pelton.codec import msgpack

        body = await exchange.off_loop(work, msgpack.encode_response, response)
    else:
        pairs = _raw_or_json(request, tensors)
        work = sum(
            (0 if raw else tensor.array.size * _JSON_BYTES_PER_NUMBER) for tensor, raw in pairs
        )
        body = await exchange.off_loop(work, _encode_oip, response, pairs, request.non_finite_null)
    answer = encoded_answer(body)
    if inference.truncated:
        answer.headers.append((b"pelton-truncated", b"%d" % inference.truncated))
    model.metrics.encode.observe(time.perf_counter() - started)
    return answer


def _encode_oip(
    response: InferResponse, pairs: Sequence[tuple[Tensor, bool]], non_finite_null: bool
) -> Any:
    return oip_binary.encode_response(response, pairs, non_finite_null=non_finite_null)


def _raw_or_json(request: InferRequest, tensors: Sequence[Tensor]) -> list[tuple[Tensor, bool]]:
    """Each output and whether it goes raw: what was asked for it, or the default for those that
    were not listed."""
    if request.outputs is None:
        return [(tensor, request.binary_output_default) for tensor in tensors]
    asked = {output.name: output.binary for output in request.outputs}
    return [(tensor, asked[tensor.name]) for tensor in tensors]
