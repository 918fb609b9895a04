from __future__ import annotations

import array
from typing import Any

import numpy as np
import pytest

from pelton.backends._arrays import as_array, check_finite, check_shape
from pelton.errors import InvalidInput


class OnDlpackOnly:
    """What torch and its kin look like: no NumPy array, but DLPack."""

    def __init__(self, values: np.ndarray, device: tuple[int, int] = (1, 0)) -> None:
        self._values = values
        self._device = device

    def __dlpack__(self, **keywords: Any) -> Any:
        return self._values.__dlpack__(**keywords)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device


def test_a_fitting_array_is_not_copied() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert as_array(values, "x", "FP32", exact=True) is values


def test_dlpack_and_buffers_are_not_copied() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.shares_memory(as_array(OnDlpackOnly(values), "x", "FP32", exact=True), values)
    buffer = array.array("f", [1, 2, 3])
    taken = as_array(buffer, "x", "FP32", exact=True)
    assert np.shares_memory(taken, np.frombuffer(buffer, np.float32))
    assert np.shares_memory(as_array(memoryview(values), "x", "FP32", exact=True), values)


def test_an_array_with_gaps_is_made_contiguous() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    taken = as_array(values.T, "x", "FP32", exact=True)
    assert taken.flags.c_contiguous
    assert (taken == values.T).all()


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ([[1, 2], [3, 4]], "FP32"),
        (((1.5, 2.5),), "FP32"),
        ([[1, 2]], "INT64"),
        ([], "FP32"),
        ([True, False], "BOOL"),
        (np.float64([1.5]), "FP32"),
        (np.int64([2**31 - 1]), "INT32"),
        (np.uint8([255]), "INT32"),
        ([0, 255], "UINT8"),
        (np.arange(3, dtype=">f4"), "FP32"),
    ],
)
def test_sound_conversions_are_made(value: object, dtype: str) -> None:
    taken = as_array(value, "x", dtype, exact=False)
    assert (taken == np.asarray(value)).all()


@pytest.mark.parametrize(
    ("value", "dtype", "expected", "got"),
    [
        (np.float32([1.5]), "INT64", "an array of INT64", "one of FP32"),
        (np.int64([2**31]), "INT32", "integers from -2147483648 to 2147483647", "2147483648"),
        (np.int64([-1]), "UINT8", "integers from 0 to 255", "-1"),
        (np.complex64([1]), "FP32", "an array of FP32", "one of complex64"),
        (["a"], "FP32", "an array of FP32", "one of <U1"),
        (np.array([None]), "FP32", "an array of FP32", "one of object"),
        ([[1], [2, 3]], "FP32", "lists of numbers of equal length", "a ragged list"),
        ({}, "FP32", "an array", "dict"),
        ("text", "FP32", "an array", "str"),
        (None, "FP32", "an array", "NoneType"),
    ],
)
def test_what_would_change_its_meaning_is_refused(value, dtype, expected, got) -> None:
    with pytest.raises(InvalidInput) as caught:
        as_array(value, "x", dtype, exact=False)
    assert caught.value.details == {"tensor": "x", "expected": expected, "got": got}


def test_another_dtype_is_refused_where_exactness_is_asked_for() -> None:
    with pytest.raises(InvalidInput, match="expected datatype FP32, got FP64"):
        as_array(np.zeros(1), "x", "FP32", exact=True)


def test_an_array_on_another_device_is_refused() -> None:
    with pytest.raises(InvalidInput, match="DLPack device"):
        as_array(OnDlpackOnly(np.zeros(1, np.float32), (2, 0)), "x", "FP32", exact=False)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 1), (2, 4), ()])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match=r"expected shape \[-1, 3\]"):
        check_shape(np.zeros(shape), "x", (-1, 3))


def test_a_free_dimension_takes_any_size() -> None:
    for rows in (0, 1, 7):
        check_shape(np.zeros((rows, 3)), "x", (-1, 3))


@pytest.mark.parametrize(("value", "got"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_the_first_number_that_is_not_finite_is_named(value: float, got: str) -> None:
    values = np.zeros((2, 3), np.float32)
    values[1, 2] = values[1, 1] = value
    with pytest.raises(InvalidInput) as caught:
        check_finite(values, "x")
    assert caught.value.details["got"] == f"{got} at [1, 1]"
    check_finite(np.zeros((0, 3), np.float32), "x")
    check_finite(np.zeros(3, np.int64), "x")
