"""Open Inference Protocol v2 with everything in JSON."""

from __future__ import annotations

from pelton.codec._json import dump_json, parse_json
from pelton.codec._oip import read_request, read_response, request_head, response_head
from pelton.codec.types import DecodeLimits, EncodedBody, InferRequest, InferResponse

__all__ = [
    "CONTENT_TYPE",
    "decode_request",
    "decode_response",
    "encode_request",
    "encode_response",
]

CONTENT_TYPE = "application/json"


def decode_request(body: bytes | memoryview, limits: DecodeLimits) -> InferRequest:
    """Raises InvalidInput, or PayloadTooLarge where the body holds more values than allowed."""
    return read_request(parse_json(bytes(body), limits), None, limits)


def decode_response(body: bytes | memoryview, limits: DecodeLimits) -> InferResponse:
    """Raises InvalidInput for an answer that is not of this form."""
    return read_response(parse_json(bytes(body), limits), None, limits)


def encode_request(request: InferRequest) -> EncodedBody:
    """Encode with every input's data flat; raises InvalidInput for BYTES that are not UTF-8."""
    head, _ = request_head(request, binary=False)
    return EncodedBody(CONTENT_TYPE, {}, (dump_json(head),))


def encode_response(response: InferResponse, *, non_finite_null: bool = False) -> EncodedBody:
    """Raises InvalidInput for a BYTES output that is not UTF-8."""
    outputs = ((tensor, False) for tensor in response.outputs)
    head, _ = response_head(response, outputs, non_finite_null=non_finite_null)
    return EncodedBody(CONTENT_TYPE, {}, (dump_json(head),))
