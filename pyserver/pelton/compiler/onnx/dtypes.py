"""ONNX's element types under the names of the Open Inference Protocol.

Types that the protocol lacks keep a name in its style (`FP8E4M3FN`, `INT4`). Sizes are those of the
packed form that ONNX calls `raw_data`: `bits` per element, rounded up to whole bytes at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np

__all__ = ["BY_CODE", "BY_NAME", "DType", "dtype_of_numpy", "numpy_dtype"]


@dataclass(frozen=True, slots=True)
class DType:
    """One element type: its name, ONNX's code, bits in `raw_data`, NumPy's or ml_dtypes' name."""

    name: str
    code: int
    bits: int
    numpy: str
    field: str
    """The member of TensorProto that holds values which are not in `raw_data`."""

    def nbytes(self, count: int) -> int:
        """The bytes of `count` elements in `raw_data`."""
        return (count * self.bits + 7) // 8


_ROWS: Final = (
    ("FP32", 1, 32, "float32", "float_data"),
    ("UINT8", 2, 8, "uint8", "int32_data"),
    ("INT8", 3, 8, "int8", "int32_data"),
    ("UINT16", 4, 16, "uint16", "int32_data"),
    ("INT16", 5, 16, "int16", "int32_data"),
    ("INT32", 6, 32, "int32", "int32_data"),
    ("INT64", 7, 64, "int64", "int64_data"),
    ("BYTES", 8, 0, "object", "string_data"),
    ("BOOL", 9, 8, "bool", "int32_data"),
    ("FP16", 10, 16, "float16", "int32_data"),
    ("FP64", 11, 64, "float64", "double_data"),
    ("UINT32", 12, 32, "uint32", "uint64_data"),
    ("UINT64", 13, 64, "uint64", "uint64_data"),
    ("COMPLEX64", 14, 64, "complex64", "float_data"),
    ("COMPLEX128", 15, 128, "complex128", "double_data"),
    ("BF16", 16, 16, "bfloat16", "int32_data"),
    ("FP8E4M3FN", 17, 8, "float8_e4m3fn", "int32_data"),
    ("FP8E4M3FNUZ", 18, 8, "float8_e4m3fnuz", "int32_data"),
    ("FP8E5M2", 19, 8, "float8_e5m2", "int32_data"),
    ("FP8E5M2FNUZ", 20, 8, "float8_e5m2fnuz", "int32_data"),
    ("UINT4", 21, 4, "uint4", "int32_data"),
    ("INT4", 22, 4, "int4", "int32_data"),
    ("FP4E2M1", 23, 4, "float4_e2m1fn", "int32_data"),
    ("FP8E8M0", 24, 8, "float8_e8m0fnu", "int32_data"),
    ("UINT2", 25, 2, "uint2", "int32_data"),
    ("INT2", 26, 2, "int2", "int32_data"),
    ("FP6E2M3", 27, 6, "float6_e2m3fn", "int32_data"),
    ("FP6E3M2", 28, 6, "float6_e3m2fn", "int32_data"),
)
BY_CODE: Final[Mapping[int, DType]] = MappingProxyType({row[1]: DType(*row) for row in _ROWS})
BY_NAME: Final[Mapping[str, DType]] = MappingProxyType({d.name: d for d in BY_CODE.values()})
_BY_NUMPY: Final = {d.numpy: d.name for d in BY_CODE.values()}


def numpy_dtype(name: str) -> np.dtype[Any] | None:
    """The NumPy dtype of an element type; None where NumPy, and ml_dtypes if present, lack it."""
    wanted = BY_NAME[name].numpy
    if hasattr(np, wanted):
        return np.dtype(wanted)
    if wanted in {"bool", "object"}:
        return np.dtype(wanted)
    try:
        import ml_dtypes
    except ImportError:
        return None
    found = getattr(ml_dtypes, wanted, None)
    return None if found is None else np.dtype(found)


def dtype_of_numpy(dtype: np.dtype[Any]) -> str:
    """The name of the element type of a NumPy dtype; KeyError where ONNX has none."""
    return "BYTES" if dtype.kind in "SUO" else _BY_NUMPY[dtype.name]
