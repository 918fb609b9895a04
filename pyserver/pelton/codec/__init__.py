"""The wire formats in plain Python: bytes in, requests out; answers in, bytes out.

Everything here is sans-IO and pure. It serves the slow path and is the oracle for the native
codecs. msgpack is imported with the first body that needs it: most servers and clients never do,
and a start is mostly imports.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from pelton._specs import TensorSpec
from pelton.codec import oip_binary, oip_json
from pelton.codec._checks import check_body_size
from pelton.codec._oip import OutputForm
from pelton.codec.negotiate import (
    MSGPACK_TYPES,
    AnswerFormat,
    RequestFormat,
    answer_format,
    error_media_type,
    header,
    request_format,
)
from pelton.codec.types import (
    DecodeLimits,
    EncodedBody,
    InferRequest,
    InferResponse,
    RequestedOutput,
    SharedInput,
    SharedMemory,
    Tensor,
)
from pelton.errors import Error, to_body

__all__ = [
    "AnswerFormat",
    "DecodeLimits",
    "EncodedBody",
    "InferRequest",
    "InferResponse",
    "RequestFormat",
    "RequestedOutput",
    "SharedInput",
    "SharedMemory",
    "Tensor",
    "TensorSpec",
    "answer_format",
    "decode_infer",
    "decode_infer_response",
    "encode_error",
    "encode_infer",
    "encode_infer_request",
    "request_format",
]


def decode_infer(
    headers: Mapping[str, str],
    body: bytes | memoryview,
    limits: DecodeLimits,
    specs: Sequence[TensorSpec] | None = None,
) -> InferRequest:
    """Decode the body of an inference request, in the format that its headers say.

    `specs` are the inputs of the model; they are used only where a body holds one tensor and no
    name for it. The tensors of the result are views of `body`. Raises InvalidInput, PayloadTooLarge
    or UnsupportedMediaType, never anything else.
    """
    kind = request_format(headers)
    check_body_size(len(body), limits)
    if kind == "binary":
        length = header(headers, oip_binary.LENGTH_HEADER) or ""
        head_bytes = oip_binary.parse_head_length(length, len(body))
        return oip_binary.decode_request(body, head_bytes, limits, specs)
    if kind == "msgpack":
        from pelton.codec import msgpack

        return msgpack.decode_request(body, limits, specs)
    return oip_json.decode_request(body, limits)


def encode_infer(
    response: InferResponse, request: InferRequest, answer: AnswerFormat
) -> EncodedBody:
    """Encode the answer to `request` as `answer` (from `answer_format`).

    The outputs are those that the request lists, in its order, or all. The request's id is echoed.
    Raises InvalidInput where JSON cannot carry an output.
    """
    chosen = _choose_outputs(response, request)
    outputs = tuple(tensor for tensor, _ in chosen)
    memory = {tensor.name: form for tensor, form in chosen if isinstance(form, SharedMemory)}
    response = replace(response, id=request.id, outputs=outputs)
    null = request.non_finite_null
    match answer.kind:
        case "msgpack":
            from pelton.codec import msgpack

            return msgpack.encode_response(response, answer.media_type, memory)
        case "json":
            chosen = [(tensor, memory.get(tensor.name, False)) for tensor in outputs]
        case "binary":
            chosen = [(tensor, memory.get(tensor.name, True)) for tensor in outputs]
    return oip_binary.encode_response(response, chosen, non_finite_null=null)


def _choose_outputs(
    response: InferResponse, request: InferRequest
) -> list[tuple[Tensor, OutputForm]]:
    if request.outputs is None:
        return [(tensor, request.binary_output_default) for tensor in response.outputs]
    by_name = {tensor.name: tensor for tensor in response.outputs}
    return [(by_name[output.name], output.memory or output.binary) for output in request.outputs]


def encode_error(
    error: Error, headers: Mapping[str, str], instance: str, request_id: str
) -> EncodedBody:
    """Encode the document of an error in a format that the client reads. Never raises for a leaf of
    the tree; `headers` are those of the request."""
    document = to_body(error, instance, request_id)
    media_type = error_media_type(headers)
    if media_type in MSGPACK_TYPES:
        from pelton.codec import msgpack

        return EncodedBody(media_type, {}, (msgpack.encode_map(document),))
    # Escaped to ASCII: a path that is not UTF-8 has surrogates in it, which only escapes can carry.
    return EncodedBody(media_type, {}, (json.dumps(document).encode(),))


def encode_infer_request(
    request: InferRequest, form: Literal["json", "binary", "msgpack"]
) -> EncodedBody:
    """Encode a request as a client sends it."""
    match form:
        case "json":
            return oip_json.encode_request(request)
        case "binary":
            return oip_binary.encode_request(request)
        case "msgpack":
            from pelton.codec import msgpack

            return msgpack.encode_request(request)


def decode_infer_response(
    headers: Mapping[str, str], body: bytes | memoryview, limits: DecodeLimits
) -> InferResponse:
    """Decode an answer as a client receives it; the errors are those of `decode_infer`."""
    kind = request_format(headers)
    check_body_size(len(body), limits)
    if kind == "binary":
        length = header(headers, oip_binary.LENGTH_HEADER) or ""
        head_bytes = oip_binary.parse_head_length(length, len(body))
        return oip_binary.decode_response(body, head_bytes, limits)
    if kind == "msgpack":
        from pelton.codec import msgpack

        return msgpack.decode_response(body, limits)
    return oip_json.decode_response(body, limits)
