"""Open Inference Protocol v2 with raw tensors behind a JSON head, and requests of one raw tensor.

Raw tensors are not copied: what is decoded points into the body, what is encoded is a chunk of its
own. A head has any length, so views into a body are aligned to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pelton._specs import TensorSpec
from pelton.codec import oip_json
from pelton.codec._checks import Where
from pelton.codec._json import Document, dump_json, parse_json
from pelton.codec._oip import (
    LENGTH_HEADER,
    BinarySection,
    OutputForm,
    read_request,
    read_response,
    request_head,
    response_head,
)
from pelton.codec._raw import deduce_shape, view_raw
from pelton.codec._request import only_input
from pelton.codec.types import (
    DATATYPES,
    DecodeLimits,
    EncodedBody,
    InferRequest,
    InferResponse,
    Tensor,
)
from pelton.errors import PayloadTooLarge

__all__ = [
    "CONTENT_TYPE",
    "LENGTH_HEADER",
    "decode_request",
    "decode_response",
    "encode_request",
    "encode_response",
    "parse_head_length",
]

CONTENT_TYPE = "application/octet-stream"


def parse_head_length(value: str, body_bytes: int) -> int:
    """The value of the header Inference-Header-Content-Length, checked against the body."""
    # isascii: isdigit alone takes digits of every script.
    if not (value.isascii() and value.isdigit() and len(value) < 20):
        raise Where(LENGTH_HEADER).bad("decimal digits", repr(value[:40]))
    head_bytes = int(value)
    if head_bytes > body_bytes:
        raise Where(LENGTH_HEADER).bad(f"at most the body's {body_bytes} bytes", value)
    return head_bytes


def decode_request(
    body: bytes | memoryview,
    head_bytes: int,
    limits: DecodeLimits,
    specs: Sequence[TensorSpec] | None = None,
) -> InferRequest:
    """Decode a body whose first `head_bytes` are JSON, REQUIRES: head_bytes <= len(body).

    With `head_bytes` 0 the body is the raw data of the only input of a model whose inputs are
    `specs`: one batch row, and every output is wanted raw.
    """
    view = memoryview(body)
    if head_bytes == 0:
        return _raw_request(view, specs)
    document, section = _split(view, head_bytes, limits)
    return read_request(document, section, limits)


def decode_response(
    body: bytes | memoryview, head_bytes: int, limits: DecodeLimits
) -> InferResponse:
    """Decode an answer whose first `head_bytes` are JSON; REQUIRES: head_bytes <= len(body)."""
    document, section = _split(memoryview(body), head_bytes, limits)
    return read_response(document, section, limits)


def _split(
    view: memoryview, head_bytes: int, limits: DecodeLimits
) -> tuple[Document, BinarySection]:
    if head_bytes > limits.head_bytes_max:
        raise PayloadTooLarge(
            f"the JSON head has {head_bytes} bytes, the limit is {limits.head_bytes_max}",
            expected=f"at most {limits.head_bytes_max} bytes",
            got=f"{head_bytes} bytes",
        )
    document = parse_json(bytes(view[:head_bytes]), limits)
    return document, BinarySection(view[head_bytes:], head_bytes)


def _raw_request(view: memoryview, specs: Sequence[TensorSpec] | None) -> InferRequest:
    spec = only_input(specs, "a body without a JSON head")
    where = Where("", spec.name)
    datatype = DATATYPES[spec.dtype]
    if datatype.kind == "bytes":  # the body is the one element itself, without its length
        return InferRequest(
            inputs=(Tensor(spec.name, spec.dtype, deduce_shape(spec, 1, where), [bytes(view)]),),
            binary_output_default=True,
        )
    if len(view) % datatype.width:
        raise where.bad(f"a multiple of {datatype.width} bytes", f"{len(view)} bytes")
    count = len(view) // datatype.width
    shape = deduce_shape(spec, count, where)
    data = view_raw(view, datatype, shape, count, where, 0)
    return InferRequest(
        inputs=(Tensor(spec.name, spec.dtype, shape, data),), binary_output_default=True
    )


def encode_request(request: InferRequest) -> EncodedBody:
    """Encode with every input raw."""
    head, chunks = request_head(request, binary=True)
    return _assemble(dump_json(head), chunks)


def encode_response(
    response: InferResponse,
    outputs: Iterable[tuple[Tensor, OutputForm]],
    *,
    non_finite_null: bool = False,
) -> EncodedBody:
    """Encode `outputs`, each with how it goes. Without any raw byte the body is plain JSON,
    as Triton does it: clients take a raw output of size 0 from the head alone."""
    head, chunks = response_head(response, outputs, non_finite_null=non_finite_null)
    return _assemble(dump_json(head), chunks)


def _assemble(head: bytes, chunks: list[bytes | memoryview]) -> EncodedBody:
    if not chunks:
        return EncodedBody(oip_json.CONTENT_TYPE, {}, (head,))
    return EncodedBody(CONTENT_TYPE, {LENGTH_HEADER: str(len(head))}, (head, *chunks))
