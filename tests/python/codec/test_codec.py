"""The functions that servers call: decode by headers, encode by what is accepted, errors."""

from __future__ import annotations

import json
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest

from pelton import codec, errors
from pelton.codec import (
    DecodeLimits,
    InferRequest,
    InferResponse,
    RequestedOutput,
    Tensor,
    answer_format,
    decode_infer,
    decode_infer_response,
    encode_error,
    encode_infer,
    encode_infer_request,
)

LIMITS = DecodeLimits()
Y = Tensor("y", "FP32", (2,), np.array([1, 2.5], np.float32))
Z = Tensor("z", "INT8", (1,), np.array([3], np.int8))
RESPONSE = InferResponse(model_name="m", model_version="1", id="of the engine", outputs=(Y, Z))


def answer(request: InferRequest, requested: Any = "json", **headers: str) -> tuple[Any, Any]:
    """The headers of an answer and what a client reads of it."""
    body = encode_infer(RESPONSE, request, answer_format(headers, requested))
    sent = {name.lower(): value for name, value in body.headers.items()}
    sent["content-type"] = body.content_type
    assert body.content_length == len(body.to_bytes())
    return sent, decode_infer_response(sent, body.to_bytes(), LIMITS)


@pytest.mark.parametrize(
    ("outputs", "default", "names", "binary"),
    [
        (None, False, ["y", "z"], False),
        (None, True, ["y", "z"], True),
        ((RequestedOutput("z"),), False, ["z"], False),
        ((RequestedOutput("z", True), RequestedOutput("y")), False, ["z", "y"], True),
        # A listed output without binary_data is JSON, whatever the default (as in Triton's code).
        ((RequestedOutput("z"), RequestedOutput("y")), True, ["z", "y"], False),
    ],
)
def test_outputs_go_out_as_the_request_asks(
    outputs: Any, default: bool, names: list[str], binary: bool
) -> None:
    request = InferRequest(inputs=(), id="42", outputs=outputs, binary_output_default=default)
    sent, response = answer(request)
    assert [tensor.name for tensor in response.outputs] == names
    assert ("inference-header-content-length" in sent) is binary
    assert sent["content-type"] == ("application/octet-stream" if binary else "application/json")
    by_name = {tensor.name: tensor.array.tolist() for tensor in response.outputs}
    assert by_name == {name: {"y": [1, 2.5], "z": [3]}[name] for name in names}


def test_the_id_of_the_request_is_echoed_and_none_is_made_up() -> None:
    assert answer(InferRequest(inputs=(), id="42"))[1].id == "42"
    assert answer(InferRequest(inputs=()))[1].id is None


def test_accept_overrules_the_form_of_outputs() -> None:
    request = InferRequest(inputs=(), outputs=(RequestedOutput("y", True), RequestedOutput("z")))
    for accept, content_type in [
        ("application/json", "application/json"),
        ("application/octet-stream", "application/octet-stream"),
        ("application/vnd.msgpack", "application/vnd.msgpack"),
    ]:
        sent, response = answer(request, accept=accept)
        assert sent["content-type"] == content_type
        assert [tensor.array.tolist() for tensor in response.outputs] == [[1, 2.5], [3]]


def test_a_body_over_the_limit_is_refused_in_every_format() -> None:
    limits = DecodeLimits(body_bytes_max=10)
    for headers in ({}, {"content-type": "application/msgpack"}, {"x": "y"}):
        with pytest.raises(errors.PayloadTooLarge, match="has 11 bytes, the limit is 10"):
            decode_infer(headers, b"x" * 11, limits)


@pytest.mark.parametrize("length", ["", "-1", "3", "x"])
def test_a_wrong_length_of_the_head(length: str) -> None:
    with pytest.raises(errors.InvalidInput, match="Inference-Header-Content-Length"):
        decode_infer({"inference-header-content-length": length}, b"{}", LIMITS)


@pytest.mark.parametrize("form", ["json", "binary", "msgpack"])
@pytest.mark.parametrize("view", [bytes, memoryview, lambda b: memoryview(bytearray(b))])
def test_bodies_may_be_bytes_or_views(form: Any, view: Any) -> None:
    body = encode_infer_request(InferRequest(inputs=(Y, Z)), form)
    headers = {"content-type": body.content_type, **body.headers}
    decoded = decode_infer(headers, view(body.to_bytes()), LIMITS)
    assert [tensor.array.tolist() for tensor in decoded.inputs] == [[1, 2.5], [3]]


@pytest.mark.parametrize(
    ("headers", "media_type", "read"),
    [
        ({}, "application/json", json.loads),
        ({"accept": "application/problem+json"}, "application/problem+json", json.loads),
        ({"content-type": "application/msgpack"}, "application/msgpack", msgpack.unpackb),
    ],
)
def test_errors_go_out_in_what_the_client_reads(headers: Any, media_type: str, read: Any) -> None:
    error = errors.InvalidInput("é is wrong", tensor="é", offset=3)
    body = encode_error(error, headers, "/v2/models/m/infer", "id-1")
    assert body.content_type == media_type
    assert read(body.to_bytes()) == errors.to_body(error, "/v2/models/m/infer", "id-1")


@pytest.mark.parametrize("headers", [{}, {"content-type": "application/msgpack"}])
def test_an_error_about_a_path_that_is_no_text_can_be_sent(headers: Any) -> None:
    error = errors.RouteNotFound("no route \udcff")
    assert encode_error(error, headers, "/\udcff", "id-1").content_length > 0


def test_all_names_are_there() -> None:
    assert all(hasattr(codec, name) for name in codec.__all__)
