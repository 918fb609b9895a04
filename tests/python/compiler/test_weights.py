"""Storage types of safetensors files, bfloat16 above all, which NumPy does not have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pelton.compiler._weights import WeightFile
from pelton.errors import UnsupportedModel

VALUES = np.array([[0.0, -0.0, 1.0], [-2.5, 3.0e38, 1.1754944e-38]], np.float32)


def write(path: Path, tensors: dict[str, tuple[str, tuple[int, ...], bytes]]) -> Path:
    """A file by the format's definition: header length, JSON header, values."""
    header, data = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        span = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": span}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def bfloat16(values: np.ndarray) -> bytes:
    return (values.view(np.uint32) >> 16).astype("<u2").tobytes()


@pytest.mark.parametrize(
    ("dtype", "raw", "expected"),
    [
        ("F32", VALUES.tobytes(), VALUES),
        ("F16", VALUES.clip(-9, 9).astype(np.float16).tobytes(), VALUES.clip(-9, 9)),
        ("BF16", bfloat16(VALUES), (VALUES.view(np.uint32) & 0xFFFF0000).view(np.float32)),
    ],
)
def test_storage_types(dtype: str, raw: bytes, expected: np.ndarray, tmp_path: Path) -> None:
    path = write(tmp_path / "w.safetensors", {"x": (dtype, (2, 3), raw)})
    values = WeightFile(path).take(["x"], (2, 3))
    assert values.dtype == np.float32
    if dtype == "F16":
        expected = expected.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(np.signbit(values), np.signbit(expected))


def test_mixed_storage(tmp_path: Path) -> None:
    path = write(
        tmp_path / "w.safetensors",
        {
            "a": ("F32", (2, 3), VALUES.tobytes()),
            "b": ("BF16", (6,), bfloat16(VALUES)),
            "c": ("BF16", (1,), bfloat16(VALUES)[4:6]),
        },
    )
    file = WeightFile(path)
    assert file.take(["a"], (2, 3)).shape == (2, 3)
    assert file.take(["b"], (6,))[2] == 1.0
    assert file.take(["missing", "c"], (1,))[0] == 1.0
    assert file.names == {"a", "b", "c"}


@pytest.mark.parametrize("bad", [0x7F80, 0xFF80, 0x7FC0])
def test_bfloat16_that_is_not_finite(bad: int, tmp_path: Path) -> None:
    raw = np.array([0x3F80, bad], "<u2").tobytes()
    path = write(tmp_path / "w.safetensors", {"x": ("BF16", (2,), raw)})
    with pytest.raises(UnsupportedModel, match="x: expected finite values"):
        WeightFile(path).take(["x"], (2,))


def test_missing_tensor_names_the_first_choice(tmp_path: Path) -> None:
    path = write(tmp_path / "w.safetensors", {"x": ("F32", (1,), bytes(4))})
    with pytest.raises(UnsupportedModel, match=r"a tensor 'y\.weight', got none") as caught:
        WeightFile(path).take(["y.weight", "y.gamma"], (1,))
    assert caught.value.field == "y.weight"
