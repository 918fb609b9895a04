from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from pelton.codec._checks import Where
from pelton.codec._numbers import (
    first_non_finite,
    from_elements,
    read_elements,
    shortest_floats,
    to_values,
)
from pelton.codec.types import DATATYPES, Tensor, bf16_to_f32, f32_to_bf16
from pelton.errors import InvalidInput

WHERE = Where("data", "x")


def random_bits(datatype: str, count: int, seed: int) -> Any:
    """Finite values of every exponent."""
    storage = DATATYPES[datatype].storage
    unsigned = np.dtype(f"u{storage.itemsize}")
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, np.iinfo(unsigned).max, count, dtype=unsigned, endpoint=True)
    if datatype == "BF16":
        return bits[np.isfinite(bf16_to_f32(bits))]
    values = bits.view(storage)
    return values[np.isfinite(values)]


def near_one(datatype: str, count: int, seed: int) -> Any:
    values = np.random.default_rng(seed).standard_normal(count).astype(np.float32)
    return f32_to_bf16(values) if datatype == "BF16" else values.astype(DATATYPES[datatype].storage)


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "FP32", "FP64"])
@pytest.mark.parametrize("values", [random_bits, near_one])
def test_printed_floats_read_back_as_the_same_bits(datatype: str, values: Any) -> None:
    array = values(datatype, 20_000, seed=1)
    texts = json.dumps(shortest_floats(array, datatype))
    back = from_elements(json.loads(texts), DATATYPES[datatype], WHERE, infinities=False)
    assert (back.view(f"u{back.itemsize}") == array.view(f"u{array.itemsize}")).all()


@pytest.mark.parametrize("values", [random_bits, near_one])
def test_fp32_prints_the_shortest_form(values: Any) -> None:
    array = values("FP32", 20_000, seed=2)
    for got, value in zip(shortest_floats(array, "FP32"), array, strict=True):
        assert float(str(value)) == got  # NumPy's own shortest form (Ryu-like)
    assert len(json.dumps(shortest_floats(array, "FP32"))) < 0.7 * len(json.dumps(array.tolist()))


@pytest.mark.parametrize("datatype", ["FP16", "FP32"])
@pytest.mark.parametrize("values", [random_bits, near_one])
def test_few_floats_print_as_many_do(datatype: str, values: Any) -> None:
    array = values(datatype, 2000, seed=3)
    few = [value for row in np.array_split(array, 40) for value in shortest_floats(row, datatype)]
    assert few == shortest_floats(array, datatype)


@pytest.mark.parametrize("value", [0.1, -0.1, 1 / 3, 1e-45, 3.4028235e38, 16777216.0, 1e20, 1e-20])
def test_fp32_prints_no_widened_digits(value: float) -> None:
    narrow = np.array([value], np.float32)
    (got,) = shortest_floats(narrow, "FP32")
    assert got == float(str(narrow[0]))


@pytest.mark.parametrize(
    ("datatype", "value", "text"),
    [("FP16", 0.1, "0.1"), ("BF16", 0.1, "0.1"), ("FP16", 65504, "65500.0"), ("BF16", 3.0, "3.0")],
)
def test_half_floats_print_few_digits(datatype: str, value: float, text: str) -> None:
    array = np.array([value], np.float32)
    bits = f32_to_bf16(array) if datatype == "BF16" else array.astype(np.float16)
    assert repr(shortest_floats(bits, datatype)[0]) == text


def test_zeros_and_values_that_are_not_finite_print_as_themselves() -> None:
    array = np.array([0.0, -0.0, math.nan, math.inf, -math.inf], np.float32)
    assert [repr(v) for v in shortest_floats(array, "FP32")] == [
        "0.0",
        "-0.0",
        "nan",
        "inf",
        "-inf",
    ]
    tensor = Tensor("x", "FP32", (5,), array)
    assert to_values(tensor, non_finite_null=True) == [0.0, -0.0, None, None, None]


@pytest.mark.parametrize(
    "name", [name for name, datatype in DATATYPES.items() if datatype.kind == "int"]
)
def test_integers_up_to_their_range_and_not_beyond(name: str) -> None:
    datatype = DATATYPES[name]
    ends = [datatype.low, datatype.high]
    assert from_elements(ends, datatype, WHERE, infinities=False).tolist() == ends
    for wrong in (datatype.low - 1, datatype.high + 1, 10**400):
        with pytest.raises(InvalidInput, match=r"data\[1\].*tensor 'x'.*expected an integer from"):
            from_elements([0, wrong], datatype, WHERE, infinities=False)


@pytest.mark.parametrize("wrong", [1.0, True, None, "1", [1], {}])
def test_integers_are_integers(wrong: object) -> None:
    with pytest.raises(InvalidInput, match=r"data\[2\]"):
        from_elements([0, 1, wrong], DATATYPES["INT64"], WHERE, infinities=False)


@pytest.mark.parametrize("wrong", [True, None, "1", [1], {}])
@pytest.mark.parametrize("name", ["FP16", "BF16", "FP32", "FP64"])
def test_floats_are_numbers(name: str, wrong: object) -> None:
    with pytest.raises(InvalidInput, match=r"data\[2\].*expected a number for"):
        from_elements([0, 1.5, wrong], DATATYPES[name], WHERE, infinities=False)


@pytest.mark.parametrize(
    ("name", "fits", "wrong"),
    [
        ("FP16", 65504, 65520),
        ("BF16", 3.3895e38, 3.4e38),
        ("FP32", 3.4028235e38, 3.5e38),
        ("FP64", 1.7e308, 10**309),
        ("FP32", 1e-60, 10**400),
    ],
)
def test_nothing_finite_becomes_infinite(name: str, fits: float, wrong: float) -> None:
    from_elements([fits, -fits], DATATYPES[name], WHERE, infinities=True)
    with pytest.raises(InvalidInput, match=r"data\[1\].*a number that fits"):
        from_elements([0, -wrong], DATATYPES[name], WHERE, infinities=True)


@pytest.mark.parametrize("name", ["FP16", "BF16", "FP32", "FP64"])
def test_an_infinity_is_only_one_that_was_written(name: str) -> None:
    datatype = DATATYPES[name]
    got = from_elements([math.inf, -math.inf, math.nan], datatype, WHERE, infinities=True)
    assert first_non_finite(Tensor("x", name, (3,), got)) == 0
    with pytest.raises(InvalidInput, match=r"data\[1\]"):
        from_elements([0.5, math.inf], datatype, WHERE, infinities=False)


@pytest.mark.parametrize("wrong", [2, -1, 1.0, 0.0, None, "true", []])
def test_booleans(wrong: object) -> None:
    got = from_elements([True, False, 1, 0], DATATYPES["BOOL"], WHERE, infinities=False)
    assert got.tolist() == [True, False, True, False]
    with pytest.raises(InvalidInput, match=r"data\[1\].*expected true, false, 0 or 1"):
        from_elements([True, wrong], DATATYPES["BOOL"], WHERE, infinities=False)


@pytest.mark.parametrize("name", [name for name in DATATYPES if name != "BYTES"])
def test_no_elements(name: str) -> None:
    got = from_elements([], DATATYPES[name], WHERE, infinities=False)
    assert got.dtype == DATATYPES[name].storage
    assert got.shape == (0,)


@pytest.mark.parametrize(
    ("data", "shape", "elements"),
    [
        ([1, 2, 3, 4], (2, 2), [1, 2, 3, 4]),
        ([[1, 2], [3, 4]], (2, 2), [1, 2, 3, 4]),
        ([[[1], [2]], [[3], [4]]], (2, 2, 1), [1, 2, 3, 4]),
        ([7], (1,), [7]),
        ([7], (), [7]),
        (7, (), [7]),
        ([], (0,), []),
        ([], (0, 3), []),
        ([], (3, 0), []),
        ([[], []], (2, 0), []),
        (None, (2, 0), []),
        ([[7]], (1, 1), [7]),
        ([7], (1, 1, 1), [7]),
    ],
)
def test_data_is_flat_or_nested_as_the_shape_says(data: object, shape: Any, elements: Any) -> None:
    assert read_elements(data, shape, WHERE) == elements


@pytest.mark.parametrize(
    ("data", "shape", "message"),
    [
        ([1, 2, 3], (2, 2), r"^data .*expected 4 elements for shape \[2, 2\], got 3$"),
        (None, (1,), "expected 1 elements .*, got no data"),
        ({"a": 1}, (), "expected an array, got an object"),
        (7, (1,), "expected an array, got the number 7"),
        ("abc", (3,), "expected an array, got the string 'abc'"),
        ([[1, 2], [3]], (2, 2), r"^data\[1\] .*expected an array of 2 .*, got an array of 1"),
        ([[1, 2], 3], (2, 2), r"^data\[1\] .*expected an array of 2 .*, got the number 3"),
        ([[1, 2], [3, 4], [5, 6]], (2, 2), r"^data .*expected an array of 2 .*an array of 3"),
        ([[1, 2, 3, 4]], (2, 2), r"^data .*expected an array of 2"),
        ([[1, 2]], (2,), r"^data .*expected an array of 2"),
        ([[[1], [2]], [[3], [4]]], (2, 2), r"^data\[0\]\[0\] .*expected an element"),
        ([[1, [2]], [3, 4]], (2, 2), r"^data\[0\]\[1\] .*expected an element .*an array of 1"),
        ([[]], (), "expected an element"),
        ([[]], (0,), "expected an array of 0"),
    ],
)
def test_other_nesting_is_refused_at_its_place(data: object, shape: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_elements(data, shape, WHERE)


def test_the_first_value_that_is_not_finite() -> None:
    values = np.array([1, 2, math.inf, math.nan], np.float32)
    assert first_non_finite(Tensor("x", "FP32", (4,), values)) == 2
    assert first_non_finite(Tensor("x", "FP32", (2,), values[:2])) is None
    assert first_non_finite(Tensor("x", "BF16", (4,), f32_to_bf16(values))) == 2
    assert first_non_finite(Tensor("x", "INT8", (1,), np.zeros(1, np.int8))) is None
    assert first_non_finite(Tensor("x", "FP16", (0,), np.zeros(0, np.float16))) is None
