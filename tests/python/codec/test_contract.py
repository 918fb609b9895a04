"""A request against a model's contract."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pelton.codec import InferRequest, RequestedOutput, Tensor, TensorSpec, validate
from pelton.codec.types import f32_to_bf16
from pelton.errors import InvalidInput

SPECS = (TensorSpec("x", "FP32", (-1, 3)), TensorSpec("t", "BYTES", (-1,)))
OUTPUTS = (TensorSpec("y", "FP32", (-1, 2)), TensorSpec("z", "INT8", (-1,)))

X = Tensor("x", "FP32", (2, 3), np.ones((2, 3), np.float32))
T = Tensor("t", "BYTES", (1,), [b"a"])


def request(*inputs: Tensor, outputs: Any = None) -> InferRequest:
    return InferRequest(inputs=inputs, outputs=outputs)


def numbers(name: str, datatype: str, shape: tuple[int, ...]) -> Tensor:
    return Tensor(name, datatype, shape, np.zeros(shape))


def test_inputs_come_back_in_the_order_of_the_contract() -> None:
    assert validate(request(T, X), SPECS) == (X, T)


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_a_free_dimension_takes_any_size(rows: int) -> None:
    x = numbers("x", "FP32", (rows, 3))
    assert validate(request(x, T), SPECS)[0] is x


def test_outputs_that_exist_may_be_asked_for() -> None:
    for names in (["y"], ["z", "y"]):
        outputs = tuple(RequestedOutput(name) for name in names)
        validate(request(X, T, outputs=outputs), SPECS, OUTPUTS)


@pytest.mark.parametrize(
    ("inputs", "tensor", "expected", "got"),
    [
        ([X], "t", "inputs 'x', 't'", "inputs 'x'"),
        ([X, T, numbers("w", "FP32", (1,))], "w", "inputs 'x', 't'", "'w'"),
        ([T, numbers("X", "FP32", (2, 3))], "X", "inputs 'x', 't'", "'X'"),
        ([X, T, X], "x", "each input once", "twice"),
        ([numbers("x", "FP64", (2, 3)), T], "x", "FP32", "FP64"),
        ([numbers("x", "FP32", (3,)), T], "x", "shape [-1, 3]", "shape [3]"),
        ([numbers("x", "FP32", ()), T], "x", "shape [-1, 3]", "shape []"),
        ([numbers("x", "FP32", (1, 2, 3)), T], "x", "shape [-1, 3]", "shape [1, 2, 3]"),
        ([numbers("x", "FP32", (2, 4)), T], "x", "shape [-1, 3]", "shape [2, 4]"),
        ([numbers("x", "FP32", (3, 2)), T], "x", "shape [-1, 3]", "shape [3, 2]"),
        ([X, numbers("t", "FP32", (1,))], "t", "BYTES", "FP32"),
    ],
)
def test_what_does_not_fit_is_named(
    inputs: list[Tensor], tensor: str, expected: str, got: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        validate(request(*inputs), SPECS, OUTPUTS)
    error = caught.value
    assert (error.tensor, error.expected, error.got) == (tensor, expected, got)
    assert f"expected {expected}, got {got}" in str(error)
    assert repr(tensor) in str(error)


@pytest.mark.parametrize(
    ("names", "tensor", "expected", "got"),
    [
        (["y", "nope"], "nope", "outputs 'y', 'z'", "'nope'"),
        (["y", "z", "y"], "y", "each output once", "twice"),
    ],
)
def test_outputs_that_do_not_fit_are_named(
    names: list[str], tensor: str, expected: str, got: str
) -> None:
    outputs = tuple(RequestedOutput(name) for name in names)
    with pytest.raises(InvalidInput) as caught:
        validate(request(X, T, outputs=outputs), SPECS, OUTPUTS)
    error = caught.value
    assert (error.tensor, error.expected, error.got) == (tensor, expected, got)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("datatype", ["FP16", "BF16", "FP32", "FP64"])
def test_values_that_are_not_finite(datatype: str, value: float) -> None:
    values = np.array([[1, 2, 3], [4, value, math.nan]], np.float32)
    dtypes = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64}
    data: Any = f32_to_bf16(values) if datatype == "BF16" else values.astype(dtypes[datatype])
    x = Tensor("x", datatype, (2, 3), data)
    specs = (TensorSpec("x", datatype, (-1, 3)),)
    with pytest.raises(InvalidInput, match="element 4 of input 'x' is not finite") as caught:
        validate(request(x), specs)
    assert caught.value.tensor == "x"
    assert "at index 4" in str(caught.value.got)
    assert validate(request(x), specs, allow_non_finite=True) == (x,)


def test_an_error_stays_short_whatever_the_model() -> None:
    specs = [TensorSpec(f"input_{n}", "FP32", (1,)) for n in range(500)]
    with pytest.raises(InvalidInput) as caught:
        validate(request(X), specs)
    assert len(str(caught.value)) < 300
