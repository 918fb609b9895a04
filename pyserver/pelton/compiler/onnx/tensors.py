"""Constant tensors: views of a file's bytes, never copies; external ones are mapped when read."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pelton.compiler.onnx.dtypes import BY_NAME, dtype_of_numpy, numpy_dtype
from pelton.errors import UnsupportedModel

__all__ = ["ExternalRange", "Tensor", "as_bytes"]


def as_bytes(array: npt.NDArray[Any]) -> memoryview:
    """The bytes of a contiguous array, without a copy, not to be written."""
    flat: Any = array.reshape(-1).view(np.uint8)
    return memoryview(flat).toreadonly()


@dataclass(frozen=True, slots=True)
class ExternalRange:
    """A range of a file beside the model, checked against the file's size when it was read.

    `real_path` is where the checked path led; `location` is how the model calls it.
    """

    location: str
    real_path: Path
    offset: int
    nbytes: int

    def map(self) -> memoryview:
        """The bytes, mapped read-only; the mapping lives as long as its views.

        Raises UnsupportedModel when the file is gone or shorter than it was.
        """
        if not self.nbytes:
            return memoryview(b"")
        before = self.offset % mmap.ALLOCATIONGRANULARITY
        try:
            with self.real_path.open("rb") as file:
                mapped = mmap.mmap(
                    file.fileno(),
                    self.nbytes + before,
                    access=mmap.ACCESS_READ,
                    offset=self.offset - before,
                )
        except (OSError, ValueError) as error:
            raise UnsupportedModel(
                f"{self.real_path}: changed after it was read: {error}"
            ) from None
        return memoryview(mapped)[before:]


@dataclass(frozen=True, eq=False)
class Tensor:
    """A constant. `data` holds what ONNX calls raw data (little-endian, packed), a range of an
    external file, or, for BYTES, the strings."""

    dtype: str
    shape: tuple[int, ...]
    data: memoryview | ExternalRange | tuple[bytes, ...]
    notes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, array: npt.ArrayLike) -> Tensor:
        """A tensor of an array's values; its bytes are shared where the array is contiguous."""
        values = np.asarray(array)
        name = dtype_of_numpy(values.dtype)
        if name == "BYTES":
            items = (v if isinstance(v, bytes) else str(v).encode() for v in values.flat)
            return cls(name, values.shape, tuple(items))
        packed = np.ascontiguousarray(values)
        if BY_NAME[name].bits < 8:
            raise ValueError(f"{name} is packed: make the tensor of its raw bytes")
        return cls(name, values.shape, as_bytes(packed))

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes of its values as ONNX packs them."""
        if isinstance(self.data, tuple):
            return sum(map(len, self.data))
        return BY_NAME[self.dtype].nbytes(self.size)

    @property
    def raw(self) -> memoryview:
        """The packed bytes. BYTES tensors have none (TypeError)."""
        if isinstance(self.data, ExternalRange):
            return self._mapped
        if isinstance(self.data, tuple):
            raise TypeError("a tensor of strings has no raw bytes")
        return self.data

    @property
    def has_array(self) -> bool:
        """Whether `array` can be had: at least a byte per element, and a dtype for it."""
        if self.dtype == "BYTES":
            return True
        return BY_NAME[self.dtype].bits >= 8 and numpy_dtype(self.dtype) is not None

    @cached_property
    def array(self) -> npt.NDArray[Any]:
        """A read-only view with the tensor's dtype and shape; BYTES gives an object array."""
        if isinstance(self.data, tuple):
            strings = np.empty(len(self.data), dtype=object)
            strings[:] = self.data
            return strings.reshape(self.shape)
        dtype = numpy_dtype(self.dtype)
        if dtype is None or BY_NAME[self.dtype].bits < 8:
            raise TypeError(f"NumPy has no array of {self.dtype}; use raw")
        return np.frombuffer(self.raw, dtype=dtype, count=self.size).reshape(self.shape)

    @cached_property
    def _mapped(self) -> memoryview:
        assert isinstance(self.data, ExternalRange)
        return self.data.map()
