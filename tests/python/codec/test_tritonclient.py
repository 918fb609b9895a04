"""The stock client of Triton Inference Server writes what we read and reads what we write.

Its functions that build and parse bodies are called without a connection.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pelton.codec import (
    DecodeLimits,
    InferRequest,
    InferResponse,
    Tensor,
    answer_format,
    decode_infer,
    encode_error,
    encode_infer,
    request_format,
)
from pelton.codec.types import DATATYPES
from pelton.errors import InvalidInput

triton = pytest.importorskip("tritonclient.http")
ml_dtypes = pytest.importorskip("ml_dtypes")  # which the client depends on

LIMITS = DecodeLimits()
#: The client's JSON has no half floats.
BINARY_ONLY = ("FP16", "BF16")
CASES = [
    (datatype, shape, binary)
    for datatype in DATATYPES
    for shape in [(0,), (1,), (3,), (2, 3), (2, 0)]
    for binary in (True, False)
    if binary or datatype not in BINARY_ONLY
]


def values_of(datatype: str, shape: tuple[int, ...], binary: bool) -> Any:
    count = int(np.prod(shape))
    if datatype == "BYTES":
        texts = [b"\xff\0" if binary else "é\0".encode()] * count
        return np.array(texts, dtype=object).reshape(shape)
    if datatype == "BF16":
        return np.linspace(-2, 2, count).astype(ml_dtypes.bfloat16).reshape(shape)
    if datatype == "BOOL":
        return (np.arange(count) % 2).astype(bool).reshape(shape)
    high = DATATYPES[datatype].high or 1 / 3
    return np.full(shape, high, DATATYPES[datatype].storage)


def sent(inputs: list[Any], outputs: Any = None, **options: Any) -> InferRequest:
    """What the server reads of a request of the client."""
    body, length = triton.InferenceServerClient.generate_request_body(
        inputs, outputs=outputs, **options
    )
    headers = {} if length is None else {"inference-header-content-length": str(length)}
    return decode_infer(headers, body, LIMITS)


@pytest.mark.parametrize(("datatype", "shape", "binary"), CASES)
def test_inputs_of_every_datatype(datatype: str, shape: tuple[int, ...], binary: bool) -> None:
    values = values_of(datatype, shape, binary)
    odd = triton.InferInput("odd", [3], "UINT8").set_data_from_numpy(np.arange(3, dtype=np.uint8))
    given = triton.InferInput("x", list(shape), datatype)
    given.set_data_from_numpy(values, binary_data=binary)
    first, x = sent([odd, given]).inputs
    assert first.array.tolist() == [0, 1, 2]
    assert (x.name, x.datatype, x.shape) == ("x", datatype, shape)
    if datatype == "BYTES":
        assert x.elements == values.ravel().tolist()
    elif datatype == "BF16":
        np.testing.assert_array_equal(x.array, values.view(np.uint16))
    else:
        np.testing.assert_array_equal(x.array, values)


@pytest.mark.parametrize(("datatype", "shape", "binary"), CASES)
def test_outputs_of_every_datatype(datatype: str, shape: tuple[int, ...], binary: bool) -> None:
    values = values_of(datatype, shape, binary)
    data: Any = values.ravel().tolist() if datatype == "BYTES" else values
    if datatype == "BF16":
        data = values.view(np.uint16)
    x = Tensor("x", datatype, shape, data)
    odd = Tensor("odd", "UINT8", (3,), np.arange(3, dtype=np.uint8))
    request = sent(
        [triton.InferInput("i", [1], "BOOL").set_data_from_numpy(np.ones(1, bool))],
        [triton.InferRequestedOutput(name, binary_data=binary) for name in ("odd", "x")],
        request_id="42",
    )
    answer = InferResponse(model_name="m", model_version="1", outputs=(x, odd))
    body = encode_infer(answer, request, answer_format({}, request_format({})))
    length = body.headers.get("Inference-Header-Content-Length")
    result = triton.InferenceServerClient.parse_response_body(
        body.to_bytes(), header_length=None if length is None else int(length)
    )
    assert result.get_response()["id"] == "42"
    assert result.as_numpy("odd").tolist() == [0, 1, 2]
    got = result.as_numpy("x")
    assert got.shape == shape
    if datatype == "BYTES" and not binary:
        assert got.ravel().tolist() == [text.decode() for text in values.ravel()]
    else:
        np.testing.assert_array_equal(got, values)


def test_the_options_of_a_request() -> None:
    given = triton.InferInput("x", [1], "FP32").set_data_from_numpy(np.ones(1, np.float32))
    request = sent([given], request_id="42", priority=1, timeout=1500, parameters={"mine": "yes"})
    assert (request.id, request.priority, request.timeout_us) == ("42", 1, 1500)
    assert request.parameters == {"mine": "yes"}
    assert request.outputs is None
    assert request.binary_output_default  # the client's default where no outputs are listed
    with pytest.raises(InvalidInput, match="sequences are not supported"):
        sent([given], sequence_id=5, sequence_start=True)


def test_bare_literals_of_the_client_are_read() -> None:
    values = np.array([np.nan, np.inf, -np.inf, 1], np.float32)
    given = triton.InferInput("x", [4], "FP32").set_data_from_numpy(values, binary_data=False)
    np.testing.assert_array_equal(sent([given]).inputs[0].array, values)


def test_the_error_that_the_client_shows() -> None:
    body = encode_error(InvalidInput("x is wrong"), {}, "/v2/models/m/infer", "id-1")
    assert json.loads(body.to_bytes())["error"] == "x is wrong"
