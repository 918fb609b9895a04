from __future__ import annotations

import math

import numpy as np
import pytest

from pelton.codec.types import (
    DATATYPES,
    EncodedBody,
    Tensor,
    bf16_to_f32,
    datatype_of,
    f32_to_bf16,
)


def test_datatypes_are_those_of_the_protocol_in_the_order_of_their_numbers() -> None:
    assert {name: (d.number, d.width) for name, d in DATATYPES.items()} == {
        "BOOL": (1, 1),
        "UINT8": (2, 1),
        "UINT16": (3, 2),
        "UINT32": (4, 4),
        "UINT64": (5, 8),
        "INT8": (6, 1),
        "INT16": (7, 2),
        "INT32": (8, 4),
        "INT64": (9, 8),
        "FP16": (10, 2),
        "BF16": (11, 2),
        "FP32": (12, 4),
        "FP64": (13, 8),
        "BYTES": (14, 0),
    }


@pytest.mark.parametrize("name", [*DATATYPES])
def test_integer_ranges(name: str) -> None:
    datatype = DATATYPES[name]
    if datatype.kind == "int":
        info = np.iinfo(datatype.storage)
        assert (datatype.low, datatype.high) == (info.min, info.max)
    else:
        assert (datatype.low, datatype.high) == (0, 0)


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        ("?", "BOOL"),
        ("u1", "UINT8"),
        ("<i4", "INT32"),
        (">i4", "INT32"),
        ("f2", "FP16"),
        (">f8", "FP64"),
        ("S5", "BYTES"),
        ("U5", "BYTES"),
        ("O", "BYTES"),
        ("c16", None),
        ("datetime64[s]", None),
    ],
)
def test_datatype_of_numpy(dtype: str, name: str | None) -> None:
    assert datatype_of(dtype) == name


def test_bf16_widens_exactly_and_comes_back() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    back = f32_to_bf16(bf16_to_f32(bits))
    is_nan = np.isnan(bf16_to_f32(bits))
    assert (back[~is_nan] == bits[~is_nan]).all()
    assert np.isnan(bf16_to_f32(back[is_nan])).all()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, 1.0),
        (1 + 2**-8, 1.0),  # halfway: to even, down
        (1 + 3 * 2**-8, 1 + 2**-6),  # halfway: to even, up
        (1 + 2**-8 + 2**-20, 1 + 2**-7),
        (-0.0, -0.0),
        (3.3895314e38, 3.3895314e38),
        (3.4028235e38, math.inf),
        (-math.inf, -math.inf),
        (2**-133, 2**-133),  # the smallest subnormal
    ],
)
def test_bf16_rounds_to_nearest_even(value: float, expected: float) -> None:
    (got,) = bf16_to_f32(f32_to_bf16(np.array([value], np.float32))).tolist()
    assert got == pytest.approx(expected, rel=1e-7)
    assert math.copysign(1, got) == math.copysign(1, expected)


def test_a_tensor_gives_its_data_by_kind() -> None:
    numbers = Tensor("x", "FP32", (1,), np.ones(1, np.float32))
    texts = Tensor("t", "BYTES", (1,), [b"a"])
    assert numbers.array.tolist() == [1.0]
    assert texts.elements == [b"a"]
    with pytest.raises(TypeError, match="BYTES"):
        _ = texts.array
    with pytest.raises(TypeError, match="FP32"):
        _ = numbers.elements


def test_an_encoded_body_knows_its_length() -> None:
    body = EncodedBody("application/json", {}, (b"ab", memoryview(b"cde")))
    assert body.content_length == 5
    assert body.to_bytes() == b"abcde"
