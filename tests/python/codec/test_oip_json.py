"""Requests and answers whose tensors are JSON, rule by rule."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from pelton.codec import DecodeLimits, InferResponse, Tensor
from pelton.codec.oip_json import decode_request, encode_response
from pelton.codec.types import InferRequest, RequestedOutput
from pelton.errors import InvalidInput

LIMITS = DecodeLimits()


def request(**changes: Any) -> dict[str, Any]:
    """A valid request, with members of its only input changed (None: left out)."""
    tensor = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2.5], **changes}
    return {"inputs": [{name: value for name, value in tensor.items() if value is not None}]}


def decode(document: Any, limits: DecodeLimits = LIMITS) -> InferRequest:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return decode_request(body, limits)


def refusal(document: Any, limits: DecodeLimits = LIMITS) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        decode(document, limits)
    return caught.value


def test_a_request_with_everything() -> None:
    decoded = decode(
        {
            "id": "42",
            "parameters": {"mine": "yes", "count": 2**63, "share": 0.5, "flag": True},
            "inputs": [
                {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [[1, 2.5]]},
                {"name": "t", "shape": [2], "datatype": "BYTES", "data": ["a\u0000", "é"]},
            ],
            "outputs": [
                {"name": "y", "parameters": {"binary_data": True}},
                {"name": "z", "parameters": {"other": []}},
                {"name": "w"},
            ],
        }
    )
    assert decoded.id == "42"
    assert decoded.parameters == {"mine": "yes", "count": 2**63, "share": 0.5, "flag": True}
    x, t = decoded.inputs
    assert (x.name, x.datatype, x.shape, x.array.tolist()) == ("x", "FP32", (1, 2), [[1, 2.5]])
    assert x.array.dtype == np.float32
    assert (t.name, t.shape, t.elements) == ("t", (2,), [b"a\0", "é".encode()])
    assert decoded.outputs == (
        RequestedOutput("y", binary=True),
        RequestedOutput("z", binary=False),
        RequestedOutput("w", binary=False),
    )


@pytest.mark.parametrize("absent", [{}, {"outputs": None}, {"outputs": []}])
def test_no_outputs_listed_are_all_of_them(absent: dict[str, Any]) -> None:
    assert decode({**request(), **absent}).outputs is None


def test_null_is_absent_where_a_member_is_optional() -> None:
    document = {"id": None, "parameters": None, "outputs": None, **request()}
    document["inputs"][0]["parameters"] = None
    decoded = decode(document)
    assert (decoded.id, decoded.parameters, decoded.outputs) == (None, {}, None)


def test_unknown_members_are_ignored() -> None:
    document = request(more=[[{"deep": []}]], parameters={"content_type": "np", "x": {"y": 1}})
    document["model_name"] = {"whatever": 1}
    assert decode(document).inputs[0].array.tolist() == [1, 2.5]


@pytest.mark.parametrize("shape", [[0], [0, 3], [3, 0], [2, 0, 2**20]])
@pytest.mark.parametrize("data", [[], None])
@pytest.mark.parametrize("datatype", ["FP32", "BYTES", "BOOL", "INT64"])
def test_empty_tensors(shape: list[int], data: Any, datatype: str) -> None:
    (tensor,) = decode(request(shape=shape, data=data, datatype=datatype)).inputs
    assert tensor.shape == tuple(shape)
    if datatype == "BYTES":
        assert tensor.elements == []
    else:
        assert tensor.array.shape == tuple(shape)


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "Inf", "-Inf"])
def test_literals_that_are_not_finite_are_read(literal: str) -> None:
    body = json.dumps(request(data=["@", 2.5])).replace('"@"', literal).encode()
    first, second = decode(body).inputs[0].array.tolist()
    assert not math.isfinite(first)
    assert second == 2.5


def test_sixty_four_bits_survive_exactly() -> None:
    ends = [2**63 - 1, -(2**63)]
    assert decode(request(datatype="INT64", data=ends)).inputs[0].array.tolist() == ends
    assert decode(request(datatype="UINT64", data=[2**64 - 1, 0])).inputs[0].array.tolist() == [
        2**64 - 1,
        0,
    ]


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        # names
        ({"name": None}, "inputs[0].name", "expected a string, got null or nothing"),
        ({"name": 5}, "inputs[0].name", "expected a string, got the number 5"),
        ({"name": ""}, "inputs[0].name", "expected a name, got an empty string"),
        ({"name": "é" * 129}, "inputs[0].name", "at most 256 bytes, got 258 bytes"),
        # datatypes
        ({"datatype": None}, "inputs[0].datatype", "expected one of BOOL, UINT8"),
        ({"datatype": "fp32"}, "inputs[0].datatype", "got the string 'fp32'"),
        ({"datatype": "STRING"}, "inputs[0].datatype", "got the string 'STRING'"),
        ({"datatype": ["FP32"]}, "inputs[0].datatype", "got an array of 1"),
        # shapes
        ({"shape": None}, "inputs[0].shape", "expected an array, got null or nothing"),
        ({"shape": 2}, "inputs[0].shape", "expected an array, got the number 2"),
        ({"shape": [-1]}, "inputs[0].shape[0]", "expected an integer of 0 or more, got the number"),
        ({"shape": [2, -2]}, "inputs[0].shape[1]", "got the number -2"),
        ({"shape": [2.0]}, "inputs[0].shape[0]", "got the number 2.0"),
        ({"shape": [True]}, "inputs[0].shape[0]", "got true"),
        ({"shape": ["2"]}, "inputs[0].shape[0]", "got the string '2'"),
        ({"shape": [[2]]}, "inputs[0].shape[0]", "got an array of 1"),
        ({"shape": [1] * 17}, "inputs[0].shape", "at most 16 items, got 17"),
        ({"shape": [2**16, 2**16]}, "inputs[0].shape", "at most 2147483648 elements"),
        ({"shape": [2**4, 2**60 + 2]}, "inputs[0].shape", "at most 2147483648 elements"),
        ({"shape": [2**32, 2**32]}, "inputs[0].shape", "at most 2147483648 elements"),
        ({"shape": [2**63]}, "inputs[0].shape", "at most 2147483648 elements"),
        ({"shape": [10**300]}, "inputs[0].shape", "at most 2147483648 elements"),
        ({"shape": [0, 2**62, 2**62]}, "inputs[0].shape", "at most 2147483648 elements"),
        # data
        ({"data": None}, "inputs[0].data", "expected 2 elements for shape [2], got no data"),
        ({"data": [1]}, "inputs[0].data", "expected 2 elements for shape [2], got 1"),
        ({"data": [1, 2, 3]}, "inputs[0].data", "got 3"),
        ({"data": []}, "inputs[0].data", "got 0"),
        ({"data": "ab"}, "inputs[0].data", "expected an array, got the string 'ab'"),
        ({"data": {"0": 1}}, "inputs[0].data", "expected an array, got an object"),
        ({"data": [1, "2"]}, "inputs[0].data[1]", "expected a number for FP32"),
        ({"data": [1, [2]]}, "inputs[0].data[1]", "expected a number for FP32, got an array"),
        ({"data": [1, True]}, "inputs[0].data[1]", "got true"),
        ({"data": [1, 1e39]}, "inputs[0].data[1]", "a number that fits 32-bit, got the number 1e+"),
        ({"data": [[1, 2]]}, "inputs[0].data", "expected an array of 2 for shape [2]"),
        ({"datatype": "INT8", "data": [1, 128]}, "inputs[0].data[1]", "from -128 to 127 for INT8"),
        ({"datatype": "UINT8", "data": [-1, 0]}, "inputs[0].data[0]", "from 0 to 255 for UINT8"),
        ({"datatype": "INT32", "data": [1, 2.0]}, "inputs[0].data[1]", "got the number 2.0"),
        ({"datatype": "UINT64", "data": [1, 2**64]}, "inputs[0].data[1]", "for UINT64"),
        ({"datatype": "BOOL", "data": [True, "true"]}, "inputs[0].data[1]", "expected true, false"),
        ({"datatype": "BYTES"}, "inputs[0].data[0]", "expected a string for BYTES, got the number"),
        ({"datatype": "BYTES", "data": ["a", None]}, "inputs[0].data[1]", "got null"),
        # parameters
        ({"parameters": []}, "inputs[0].parameters", "expected an object, got an array of 0"),
        (
            {"parameters": {str(n): n for n in range(65)}},
            "inputs[0].parameters",
            "at most 64 parameters, got 65",
        ),
        (
            {"parameters": {"binary_data_size": 8}},
            "inputs[0].parameters.binary_data_size",
            "either data or binary_data_size",
        ),
        (
            {"data": None, "parameters": {"binary_data_size": 8}},
            "inputs[0].parameters.binary_data_size",
            "needs the header Inference-Header-Content-Length",
        ),
        (
            {"data": None, "parameters": {"shared_memory_region": "r"}},
            "inputs[0].parameters.shared_memory_byte_size",
            "an integer from 0 to 9223372036854775807, got null or nothing",
        ),
        (
            {"parameters": {"shared_memory_offset": 0}},
            "inputs[0].parameters.shared_memory_region",
            "expected a string, got null or nothing",
        ),
    ],
)
def test_what_is_wrong_with_an_input_is_named(
    changes: dict[str, Any], field: str, message: str
) -> None:
    error = refusal(request(**changes))
    assert error.field == field
    assert message in str(error)
    assert str(error).startswith(field)
    expected_tensor = None if "name" in changes else "x"
    assert error.tensor == expected_tensor


def test_1e999_is_out_of_range_and_not_an_infinity() -> None:
    body = json.dumps(request(datatype="FP64", data=["@", 1])).replace('"@"', "1e999").encode()
    error = refusal(body)
    assert error.tensor == "x"
    assert "too large" in str(error)


@pytest.mark.parametrize(
    ("document", "field", "message"),
    [
        ([], None, "the body: expected an object, got an array of 0"),
        ("text", None, "got the string 'text'"),
        ({}, "inputs", "expected an array, got null or nothing"),
        ({"inputs": {}}, "inputs", "expected an array, got an object"),
        ({"inputs": []}, "inputs", "expected at least one input"),
        ({"inputs": [5]}, "inputs[0]", "expected an object, got the number 5"),
        ({"inputs": [{}] * 257}, "inputs", "at most 256 items, got 257"),
        ({**request(), "id": 7}, "id", "expected a string, got the number 7"),
        ({**request(), "outputs": {}}, "outputs", "expected an array"),
        ({**request(), "outputs": ["y"]}, "outputs[0]", "expected an object"),
        ({**request(), "outputs": [{}]}, "outputs[0].name", "expected a string"),
        (
            {**request(), "outputs": [{"name": "y", "parameters": {"binary_data": 1}}]},
            "outputs[0].parameters.binary_data",
            "expected true or false, got the number 1",
        ),
        (
            {**request(), "outputs": [{"name": "y", "parameters": {"classification": -1}}]},
            "outputs[0].parameters.classification",
            "expected an integer from 0 to 2147483647, got the number -1",
        ),
        (
            {**request(), "outputs": [{"name": "y", "parameters": {"shared_memory_region": "r"}}]},
            "outputs[0].parameters.shared_memory_byte_size",
            "expected an integer from 0",
        ),
    ],
)
def test_what_is_wrong_with_a_request_is_named(
    document: Any, field: str | None, message: str
) -> None:
    error = refusal(document)
    assert error.field == field
    assert message in str(error)


@pytest.mark.parametrize(
    ("parameters", "attribute", "value"),
    [
        ({}, "priority", 2),
        ({"priority": 0}, "priority", 2),
        ({"priority": 1}, "priority", 1),
        ({"priority": 4}, "priority", 4),
        ({"priority": 2**64 - 1}, "priority", 4),
        ({}, "timeout_us", 0),
        ({"timeout": 1500}, "timeout_us", 1500),
        ({}, "binary_output_default", False),
        ({"binary_data_output": True}, "binary_output_default", True),
        ({}, "truncate", None),
        ({"truncate": True}, "truncate", True),
        ({"truncate": False}, "truncate", False),
        ({}, "non_finite_null", False),
        ({"non_finite": "null"}, "non_finite_null", True),
        ({"non_finite": "literal"}, "non_finite_null", False),
        ({"sequence_id": 0, "sequence_start": False, "sequence_end": False}, "parameters", {}),
        ({"sequence_id": ""}, "parameters", {}),
        ({"sequence_start": True, "mine": 1}, "parameters", {"mine": 1}),
    ],
)
def test_parameters_with_a_meaning(parameters: dict[str, Any], attribute: str, value: Any) -> None:
    decoded = decode({**request(), "parameters": parameters})
    assert getattr(decoded, attribute) == value
    assert set(decoded.parameters) <= {"mine"}


@pytest.mark.parametrize(
    ("parameters", "field", "message"),
    [
        ([], "parameters", "expected an object"),
        ({"headers": "x"}, "parameters.headers", "reserved"),
        ({"triton_x": 1}, "parameters.triton_x", "reserved"),
        ({"priority": -1}, "parameters.priority", "an integer from 0"),
        ({"priority": 1.0}, "parameters.priority", "an integer from 0"),
        ({"priority": True}, "parameters.priority", "an integer from 0"),
        ({"priority": "1"}, "parameters.priority", "an integer from 0"),
        ({"timeout": -5}, "parameters.timeout", "an integer from 0"),
        ({"timeout": 2**63}, "parameters.timeout", "an integer from 0"),
        ({"binary_data_output": 1}, "parameters.binary_data_output", "true or false"),
        ({"truncate": "yes"}, "parameters.truncate", "true or false"),
        ({"non_finite": 0}, "parameters.non_finite", '"literal" or "null"'),
        ({"sequence_id": 7}, "parameters.sequence_id", "sequences are not supported"),
        ({"sequence_id": "a"}, "parameters.sequence_id", "sequences are not supported"),
        ({"sequence_id": False}, "parameters.sequence_id", "an unsigned integer or a string"),
        ({"sequence_start": 1}, "parameters.sequence_start", "true or false"),
        ({"a": None}, "parameters.a", "a string, number or boolean, got null"),
        ({"a": []}, "parameters.a", "a string, number or boolean, got an array"),
        ({"a": {}}, "parameters.a", "a string, number or boolean, got an object"),
        ({"a": 2**64}, "parameters.a", "an integer from"),
        ({"a": math.nan}, "parameters.a", "a finite number"),
        ({"a": "x" * (2**20 + 1)}, "parameters.a", "at most 1048576 bytes"),
        ({"k" * 257: 1}, "parameters", "at most 256 bytes"),
        ({str(n): n for n in range(65)}, "parameters", "at most 64 parameters, got 65"),
    ],
)
def test_parameters_that_are_refused(parameters: Any, field: str, message: str) -> None:
    error = refusal({**request(), "parameters": parameters})
    assert error.field == field
    assert message in str(error)


def test_the_depth_of_data_is_its_rank() -> None:
    deep: Any = 1.0
    for _ in range(16):
        deep = [deep]
    shape = [1] * 16
    assert decode(request(shape=shape, data=deep)).inputs[0].array.shape == (1,) * 16
    assert "expected an element" in str(refusal(request(shape=[1] * 15, data=deep)))
    assert "nested deeper" in str(refusal(request(shape=shape, data=[[[[[deep]]]]])))


def test_a_long_error_is_cut() -> None:
    for wrong in ("x" * 10_000, 10**300, ["a"] * 10_000, {"a": "b" * 10_000}):
        assert len(str(refusal(request(data=[wrong, 1])))) < 400


def response(**changes: Any) -> InferResponse:
    y = Tensor("y", "FP32", (2, 2), np.array([[0.1, 2], [3, 4]], np.float32))
    t = Tensor("t", "BYTES", (1,), ["é".encode()])
    return InferResponse(**{"model_name": "m", "model_version": "1", "outputs": (y, t), **changes})


def test_an_answer_is_flat_and_short() -> None:
    body = encode_response(response(id="42", parameters={"a": 1}))
    assert body.content_type == "application/json"
    assert (
        body.to_bytes()
        == (
            '{"model_name":"m","model_version":"1","id":"42","parameters":{"a":1},"outputs":['
            '{"name":"y","shape":[2,2],"datatype":"FP32","data":[0.1,2.0,3.0,4.0]},'
            '{"name":"t","shape":[1],"datatype":"BYTES","data":["é"]}]}'
        ).encode()
    )


def test_an_answer_leaves_out_an_id_that_was_not_given() -> None:
    assert [*json.loads(encode_response(response()).to_bytes())] == [
        "model_name",
        "model_version",
        "outputs",
    ]


@pytest.mark.parametrize(
    ("null", "data"), [(False, b"[NaN,Infinity,-Infinity,1.5]"), (True, b"[null,null,null,1.5]")]
)
@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
def test_values_that_are_not_finite_are_literals_or_null(
    null: bool, data: bytes, datatype: str
) -> None:
    dtype = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64}[datatype]
    values = np.array([math.nan, math.inf, -math.inf, 1.5], dtype)
    outputs = (Tensor("y", datatype, (4,), values),)
    body = encode_response(response(outputs=outputs), non_finite_null=null).to_bytes()
    assert b'"data":' + data in body


def test_bytes_that_are_no_text_cannot_be_json() -> None:
    outputs = (Tensor("t", "BYTES", (2,), [b"fine", b"\xff"]),)
    with pytest.raises(InvalidInput, match="ask for it as binary data") as caught:
        encode_response(response(outputs=outputs))
    assert caught.value.tensor == "t"
