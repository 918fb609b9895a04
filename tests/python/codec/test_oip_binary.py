"""Raw tensors behind a JSON head, and bodies of one raw tensor, rule by rule."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest

from pelton.codec import DecodeLimits, InferResponse, Tensor, TensorSpec, decode_infer
from pelton.codec.oip_binary import (
    LENGTH_HEADER,
    decode_request,
    encode_response,
    parse_head_length,
)
from pelton.codec.types import InferRequest
from pelton.errors import InvalidInput, PayloadTooLarge

LIMITS = DecodeLimits()


def tensor(name: str, datatype: str, shape: list[int], size: Any = None, **more: Any) -> Any:
    parameters = {} if size is None else {"parameters": {"binary_data_size": size}}
    return {"name": name, "datatype": datatype, "shape": shape, **parameters, **more}


def decode(inputs: list[Any], raw: bytes, limits: DecodeLimits = LIMITS) -> InferRequest:
    head = json.dumps({"inputs": inputs}).encode()
    return decode_request(head + raw, len(head), limits)


def refusal(inputs: list[Any], raw: bytes) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        decode(inputs, raw)
    return caught.value


def packed(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def test_tensors_follow_the_head_in_its_order() -> None:
    x = np.array([[1, 2], [3, 4]], np.float32)
    n = np.array([2**63 - 1, -1], np.int64)
    texts = packed(b"a\0b", b"", b"\xff")
    decoded = decode(
        [
            tensor("flag", "BOOL", [3], 3),
            tensor("json", "INT8", [1], data=[7]),
            tensor("x", "FP32", [2, 2], 16),
            tensor("none", "FP16", [0, 5], 0),
            tensor("t", "BYTES", [3], len(texts)),
            tensor("n", "INT64", [2], 16),
        ],
        b"\1\0\1" + x.tobytes() + texts + n.tobytes(),
    )
    flag, in_json, got_x, none, got_texts, got_n = decoded.inputs
    assert flag.array.tolist() == [True, False, True]
    assert in_json.array.tolist() == [7]
    np.testing.assert_array_equal(got_x.array, x)
    assert none.array.shape == (0, 5)
    assert got_texts.elements == [b"a\0b", b"", b"\xff"]
    np.testing.assert_array_equal(got_n.array, n)


def test_tensors_are_views_of_the_body() -> None:
    head = json.dumps({"inputs": [tensor("x", "FP32", [2], 8)]}).encode()
    head += b" " * (1 - len(head) % 2)  # an odd length: the view is not aligned
    body = bytearray(head + np.array([1, 2], np.float32).tobytes())
    x = decode_request(memoryview(body), len(head), LIMITS).inputs[0].array
    assert not x.flags.aligned
    body[-4:] = struct.pack("<f", 5)
    assert x.tolist() == [1, 5]


@pytest.mark.parametrize(
    ("inputs", "raw", "message"),
    [
        (
            [tensor("x", "FP32", [2], 8)],
            b"\0" * 7,
            "inputs[0].data (tensor 'x'): expected 8 bytes of data, got 7 bytes left",
        ),
        ([tensor("x", "FP32", [2], 8)], b"\0" * 9, "unexpected additional input data: 1 bytes"),
        ([tensor("x", "FP32", [2], 4)], b"\0" * 4, "expected 8 bytes for FP32 of shape [2], got 4"),
        ([tensor("x", "FP32", [2], 0)], b"", "expected 8 bytes for FP32 of shape [2], got 0"),
        ([tensor("x", "INT64", [2], 8)], b"\0" * 8, "expected 16 bytes for INT64"),
        ([tensor("x", "FP32", [0], 4)], b"\0" * 4, "expected 0 bytes for FP32 of shape [0]"),
        ([tensor("x", "BOOL", [2], 2)], b"\1\2", "inputs[0].data[1] (tensor 'x'): expected a byte"),
        ([tensor("x", "FP32", [2], -8)], b"", "binary_data_size (tensor 'x'): expected an integer"),
        ([tensor("x", "FP32", [2], 8.0)], b"\0" * 8, "binary_data_size"),
        ([tensor("x", "FP32", [2], True)], b"\0" * 8, "binary_data_size"),
        ([tensor("x", "FP32", [2], "8")], b"\0" * 8, "binary_data_size"),
        ([tensor("x", "FP32", [2], 2**63)], b"\0" * 8, "binary_data_size"),
        ([tensor("x", "FP32", [2], 2**63 - 1)], b"\0" * 8, "got 8 bytes left"),
        ([tensor("x", "FP32", [2], 8, data=[1, 2])], b"\0" * 8, "either data or binary_data_size"),
        ([tensor("x", "FP32", [2**31], 8)], b"\0" * 8, "expected 8589934592 bytes"),
        ([tensor("x", "FP32", [2**31, 2], 8)], b"\0" * 8, "at most 2147483648 elements"),
        (
            [tensor("x", "FP32", [1]), tensor("y", "FP32", [1], 4)],
            b"\0" * 8,
            "inputs[0].data (tensor 'x'): expected 1 elements for shape [1], got no data",
        ),
        (
            [tensor("x", "FP32", [1], 4), tensor("y", "FP32", [1], 4)],
            b"\0" * 4,
            "inputs[1].data (tensor 'y'): expected 4 bytes of data, got 0 bytes left",
        ),
    ],
)
def test_sizes_must_agree(inputs: list[Any], raw: bytes, message: str) -> None:
    assert message in str(refusal(inputs, raw))


@pytest.mark.parametrize(
    ("shape", "raw", "message"),
    [
        ([2], packed(b"a"), "expected 2 elements, so 8 bytes or more, got 5 bytes"),
        ([1], b"\1\0\0", "expected 1 elements, so 4 bytes or more, got 3 bytes"),
        ([2], packed(b"abcd") + b"\1", "data[1] (tensor 't'): expected a length of 4 bytes, got 1"),
        ([1], packed(b"abc")[:-1], "data[0] (tensor 't'): expected an element of 3 bytes, got 2"),
        ([1], b"\xff\xff\xff\xff", "expected an element of 4294967295 bytes, got 0 bytes left"),
        ([1], packed(b"a", b"b"), "expected 1 elements, got 5 bytes behind the last"),
        ([0], packed(b""), "expected 0 elements, got 4 bytes behind the last"),
        ([2**31], packed(b""), "expected 2147483648 elements"),
    ],
)
def test_elements_of_bytes_must_fill_their_bytes(
    shape: list[int], raw: bytes, message: str
) -> None:
    error = refusal([tensor("t", "BYTES", shape, len(raw))], raw)
    assert message in str(error)
    assert error.offset is not None


def test_errors_in_raw_data_name_the_byte_of_the_body() -> None:
    inputs = [tensor("a", "BOOL", [2], 2), tensor("b", "BOOL", [2], 2)]
    head = json.dumps({"inputs": inputs}).encode()
    error = refusal(inputs, b"\0\1\1\7")
    assert error.offset == len(head) + 3
    assert error.tensor == "b"


def test_an_only_input_may_leave_its_size_out() -> None:
    (x,) = decode([tensor("x", "FP32", [2])], np.array([1, 2], np.float32).tobytes()).inputs
    assert x.array.tolist() == [1, 2]
    (none,) = decode([tensor("x", "FP32", [0])], b"").inputs
    assert none.array.shape == (0,)


def test_json_alone_may_come_with_the_header() -> None:
    (x,) = decode([tensor("x", "FP32", [1], data=[3])], b"").inputs
    assert x.array.tolist() == [3]
    assert "additional" in str(refusal([tensor("x", "FP32", [1], data=[3])], b"\0"))


@pytest.mark.parametrize("value", ["", "-1", "+5", " 5", "5 ", "0x5", "5.0", "٥", "9" * 20, "5,5"])
def test_the_length_of_the_head_is_decimal_digits(value: str) -> None:
    with pytest.raises(InvalidInput, match=LENGTH_HEADER):
        parse_head_length(value, 100)


def test_the_head_lies_in_the_body() -> None:
    assert parse_head_length("100", 100) == 100
    with pytest.raises(InvalidInput, match="at most the body's 100 bytes, got 101"):
        parse_head_length("101", 100)


def test_the_head_has_a_limit_of_its_own() -> None:
    head = b"{" + b" " * 100 + b"}"
    with pytest.raises(PayloadTooLarge, match="head has 102 bytes, the limit is 64"):
        decode_request(head, len(head), DecodeLimits(head_bytes_max=64))


@pytest.mark.parametrize("head", [b"{", b"[]", b'{"inputs": [', b"\xff\xff"])
def test_a_head_that_is_no_request(head: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode_request(head + b"\0" * 8, len(head), LIMITS)


FP32 = np.arange(6, dtype=np.float32)


def raw_request(spec: TensorSpec, body: bytes) -> InferRequest:
    return decode_infer({"inference-header-content-length": "0"}, body, LIMITS, [spec])


@pytest.mark.parametrize(
    ("shape", "deduced"),
    [
        ((-1, 6), (1, 6)),
        ((-1, -1), (1, 6)),
        ((-1, 3, -1), (1, 3, 2)),
        ((6,), (6,)),
        ((2, 3), (2, 3)),
        ((2, -1), (2, 3)),
    ],
)
def test_a_body_without_a_head_is_the_only_input(
    shape: tuple[int, ...], deduced: tuple[int, ...]
) -> None:
    decoded = raw_request(TensorSpec("x", "FP32", shape), FP32.tobytes())
    (x,) = decoded.inputs
    assert (x.name, x.shape) == ("x", deduced)
    assert x.array.ravel().tolist() == FP32.tolist()
    assert decoded.binary_output_default
    assert decoded.outputs is None


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((-1,), "expected 1 elements for one row"),
        ((-1, 5), "expected 5 elements for one row"),
        ((-1, 4, -1), "a multiple of 4 elements"),
        ((-1, 0, -1), "a multiple of 0 elements"),
        ((-1, -1, -1), "cannot fill the 2 free dimensions"),
    ],
)
def test_a_body_without_a_head_must_fit_one_shape(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        raw_request(TensorSpec("x", "FP32", shape), FP32.tobytes())


def test_a_body_without_a_head_is_whole_elements() -> None:
    with pytest.raises(InvalidInput, match="a multiple of 4 bytes, got 23 bytes"):
        raw_request(TensorSpec("x", "FP32", (-1, 6)), FP32.tobytes()[:-1])
    with pytest.raises(InvalidInput, match="a byte of 0 or 1"):
        raw_request(TensorSpec("x", "BOOL", (-1, 1)), b"\2")


@pytest.mark.parametrize("shape", [(-1,), (1,), (-1, 1), (-1, -1)])
def test_a_body_of_bytes_without_a_head_is_one_element(shape: tuple[int, ...]) -> None:
    (t,) = raw_request(TensorSpec("t", "BYTES", shape), b"\5\0a\xff").inputs
    assert t.elements == [b"\5\0a\xff"]
    assert t.shape == (1,) * len(shape)


def test_a_body_of_bytes_without_a_head_cannot_be_two_elements() -> None:
    with pytest.raises(InvalidInput, match="expected 2 elements for one row"):
        raw_request(TensorSpec("t", "BYTES", (-1, 2)), b"abc")


@pytest.mark.parametrize("specs", [None, [], [TensorSpec("a", "FP32", (1,))] * 2])
def test_a_body_without_a_head_needs_a_model_of_one_input(specs: Any) -> None:
    with pytest.raises(InvalidInput, match="needs a model of one input"):
        decode_infer({"inference-header-content-length": "0"}, b"\0" * 4, LIMITS, specs)


def answer(*outputs: Tensor) -> InferResponse:
    return InferResponse(model_name="m", model_version="1", outputs=outputs)


def test_an_answer_has_a_head_and_its_raw_outputs() -> None:
    y = Tensor("y", "FP32", (2, 3), FP32.reshape(3, 2).T)
    n = Tensor("n", "INT64", (1,), np.array([5], ">i8"))
    t = Tensor("t", "BYTES", (2,), [b"\xff", b""])
    j = Tensor("j", "FP64", (1,), np.array([0.1]))
    body = encode_response(answer(y, n, t, j), [(y, True), (j, False), (n, True), (t, True)])
    assert body.content_type == "application/octet-stream"
    size = int(body.headers[LENGTH_HEADER])
    whole = body.to_bytes()
    assert json.loads(whole[:size])["outputs"] == [
        {
            "name": "y",
            "shape": [2, 3],
            "datatype": "FP32",
            "parameters": {"binary_data_size": 24},
        },
        {"name": "j", "shape": [1], "datatype": "FP64", "data": [0.1]},
        {"name": "n", "shape": [1], "datatype": "INT64", "parameters": {"binary_data_size": 8}},
        {"name": "t", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 9}},
    ]
    assert whole[size:] == (
        FP32.reshape(3, 2).T.tobytes() + struct.pack("<q", 5) + packed(b"\xff", b"")
    )


def test_an_answer_holds_views_of_contiguous_outputs() -> None:
    y = Tensor("y", "FP32", (6,), FP32.copy())
    body = encode_response(answer(y), [(y, True)])
    y.array[0] = 7
    assert body.to_bytes().endswith(y.array.tobytes())


def test_an_answer_of_empty_raw_outputs_is_plain_json() -> None:
    y = Tensor("y", "FP32", (0, 3), np.zeros((0, 3), np.float32))
    body = encode_response(answer(y), [(y, True)])
    assert body.content_type == "application/json"
    assert LENGTH_HEADER not in body.headers
    (output,) = json.loads(body.to_bytes())["outputs"]
    assert output["parameters"] == {"binary_data_size": 0}
