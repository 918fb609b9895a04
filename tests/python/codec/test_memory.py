"""Tensors in shared memory: what a request says of them, and what an answer says back."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import numpy as np
import pytest

from pelton.codec import (
    DecodeLimits,
    InferResponse,
    SharedMemory,
    Tensor,
    answer_format,
    decode_infer,
    encode_infer,
    encode_infer_request,
    request_format,
)
from pelton.codec.memory import shared_bytes, shared_tensor
from pelton.codec.types import InferRequest, RequestedOutput, SharedInput
from pelton.errors import InvalidInput

LIMITS = DecodeLimits()
REGION = {"shared_memory_region": "r", "shared_memory_byte_size": 8, "shared_memory_offset": 4}
INPUT = {"name": "x", "shape": [2], "datatype": "FP32", "parameters": REGION}
MEMORY = SharedMemory("r", 8, 4)


def decode(document: Any, headers: dict[str, str] | None = None, tail: bytes = b"") -> InferRequest:
    head = json.dumps(document).encode()
    if tail:
        headers = {"inference-header-content-length": str(len(head))}
    return decode_infer(headers or {}, head + tail, LIMITS)


def test_an_input_may_be_somewhere_else() -> None:
    request = decode({"inputs": [INPUT]})
    assert request.inputs == ()
    assert request.shared_inputs == (SharedInput("x", "FP32", (2,), MEMORY),)
    without = {"shared_memory_region": "r", "shared_memory_byte_size": 8}
    found = decode({"inputs": [{**INPUT, "parameters": without}]}).shared_inputs[0].memory
    assert found == SharedMemory("r", 8, 0)


def test_inputs_of_all_three_places_in_one_request() -> None:
    raw = {"name": "b", "shape": [3], "datatype": "UINT8", "parameters": {"binary_data_size": 3}}
    plain = {"name": "c", "shape": [1], "datatype": "INT8", "data": [7]}
    request = decode({"inputs": [INPUT, raw, plain]}, tail=b"abc")
    assert [tensor.name for tensor in request.inputs] == ["b", "c"]
    assert bytes(request.inputs[0].array) == b"abc"
    assert [tensor.name for tensor in request.shared_inputs] == ["x"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"data": [1, 2]}, "parameters"),
        ({"parameters": {**REGION, "binary_data_size": 0}}, "parameters"),
        ({"parameters": {**REGION, "shared_memory_region": ""}}, "shared_memory_region"),
        ({"parameters": {**REGION, "shared_memory_region": 1}}, "shared_memory_region"),
        ({"parameters": {**REGION, "shared_memory_byte_size": -1}}, "shared_memory_byte_size"),
        ({"parameters": {**REGION, "shared_memory_byte_size": 8.0}}, "shared_memory_byte_size"),
        ({"parameters": {**REGION, "shared_memory_offset": True}}, "shared_memory_offset"),
        # The end of it is beyond 64 bits.
        ({"parameters": {**REGION, "shared_memory_offset": 2**63 - 8}}, "shared_memory_offset"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode({"inputs": [{**INPUT, **changes}]})
    assert (caught.value.tensor, (caught.value.field or "").rpartition(".")[2]) == ("x", field)


def test_classes_do_not_go_to_shared_memory() -> None:
    output = {"name": "y", "parameters": {**REGION, "classification": 2}}
    with pytest.raises(InvalidInput, match="cannot be put into shared memory"):
        decode({"inputs": [INPUT], "outputs": [output]})


@pytest.mark.parametrize("content_type", ["application/json", "application/msgpack"])
def test_an_answer_names_the_place_in_place_of_the_data(content_type: str) -> None:
    outputs = (RequestedOutput("y", memory=MEMORY), RequestedOutput("z"))
    request = InferRequest(inputs=(), outputs=outputs)
    y = Tensor("y", "FP32", (2,), np.ones(2, np.float32))
    z = Tensor("z", "INT8", (1,), np.ones(1, np.int8))
    response = InferResponse(model_name="m", model_version="1", outputs=(y, z))
    headers = {"content-type": content_type}
    body = encode_infer(response, request, answer_format(headers, request_format(headers)))
    assert body.content_type == content_type
    read = json.loads if "json" in content_type else msgpack.unpackb
    shared, plain = read(body.to_bytes())["outputs"]
    assert shared == {"name": "y", "datatype": "FP32", "shape": [2], "parameters": REGION}
    assert "data" in plain


def test_what_is_asked_for_survives_the_way() -> None:
    outputs = (RequestedOutput("y", memory=MEMORY), RequestedOutput("z", True, classification=3))
    shared = (SharedInput("x", "BYTES", (2, 1), MEMORY),)
    request = InferRequest(inputs=(), shared_inputs=shared, outputs=outputs)
    body = encode_infer_request(request, "json")
    found = decode_infer({}, body.to_bytes(), LIMITS)
    assert (found.shared_inputs, found.outputs) == (shared, outputs)


@pytest.mark.parametrize(
    ("datatype", "data"),
    [("FP32", np.array([[1, 2]], "<f4")), ("BYTES", [b"\0\xff", b""]), ("BF16", None)],
)
def test_bytes_there_and_back(datatype: str, data: Any) -> None:
    data = np.array([[1, 2]], "<u2") if data is None else data
    raw = bytes(shared_bytes(Tensor("x", datatype, (1, 2), data)))
    shared = SharedInput("x", datatype, (1, 2), SharedMemory("r", len(raw)))
    found = shared_tensor(shared, memoryview(raw))
    if datatype == "BYTES":
        assert found.elements == data
    else:
        np.testing.assert_array_equal(found.array, data)
    with pytest.raises(InvalidInput) as caught:
        shared_tensor(shared, memoryview(raw + b"1"))
    assert caught.value.tensor == "x"
