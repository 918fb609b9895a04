"""Tensors and types of the parsed file, checked: what they claim against what they hold."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pelton.compiler.onnx._external import ExternalFiles
from pelton.compiler.onnx._refuse import quote, refusal, text
from pelton.compiler.onnx._wire import Slimmed
from pelton.compiler.onnx.dims import Dim, symbol
from pelton.compiler.onnx.dtypes import BY_CODE, DType
from pelton.compiler.onnx.graph import OtherType, TensorType, Type
from pelton.compiler.onnx.tensors import Tensor, as_bytes

__all__ = ["Values"]

_EXTERNAL: Final = 1
_RANK_MAX: Final = 64
_DENSE_BYTES_MAX: Final = 256 << 20
_TYPED_FIELDS: Final = (
    "float_data",
    "int32_data",
    "string_data",
    "int64_data",
    "double_data",
    "uint64_data",
)
#: What exporters write for a size without a name; two of them are not the same size.
_UNNAMED: Final = frozenset({"", "?", "*", "-1", "None"})
_FIELD_NUMBERS: Final = {"float_data": 4, "double_data": 10}
_STORED: Final = {"float_data": "<f4", "double_data": "<f8", "int64_data": "<i8"}


class Values:
    """Reads TensorProto and TypeProto messages of one file."""

    def __init__(self, path: Path, slimmed: Slimmed) -> None:
        self._path = path
        self._slimmed = slimmed
        self._external = ExternalFiles(path)

    def refuse(self, at: str, reason: str, expected: str, got: object) -> Exception:
        return refusal(self._path, reason, expected=expected, got=got, at=at)

    def tensor(self, proto: Any, at: str) -> Tensor:
        """The constant that a TensorProto holds; `at` names it in errors."""
        dtype = self._dtype(proto.data_type, at)
        shape = tuple(proto.dims)
        if len(shape) > _RANK_MAX or any(dim < 0 for dim in shape):
            wanted = f"at most {_RANK_MAX} dimensions, none negative"
            raise self.refuse(at, "shape", wanted, list(shape[: _RANK_MAX + 1]))
        if proto.HasField("segment"):
            raise self.refuse(at, "tensor", "a whole tensor", "a segment of one")
        count = prod(shape)
        if proto.data_location == _EXTERNAL:
            if dtype.name == "BYTES":
                raise self.refuse(at, "external data", "numbers", "strings")
            entries = {text(entry.key): text(entry.value) for entry in proto.external_data}
            return Tensor(
                dtype.name, shape, self._external.range(at, entries, dtype.nbytes(count)), entries
            )
        if dtype.name == "BYTES":
            self._sized(at, "string_data", count, len(proto.string_data))
            return Tensor(dtype.name, shape, tuple(proto.string_data))
        if proto.HasField("raw_data"):
            return Tensor(dtype.name, shape, self._raw(proto, dtype, count, at))
        return Tensor(dtype.name, shape, self._typed(proto, dtype, count, at))

    def _dtype(self, code: int, at: str) -> DType:
        if code not in BY_CODE:
            raise self.refuse(at, "element type", f"one of 1 to {max(BY_CODE)}", code)
        return BY_CODE[code]

    def _sized(self, at: str, what: str, expected: int, got: int) -> None:
        if expected != got:
            raise self.refuse(at, f"{what} does not fit its shape", str(expected), got)

    def _raw(self, proto: Any, dtype: DType, count: int, at: str) -> memoryview:
        raw = proto.raw_data
        marked = self._slimmed.payload(raw)
        field, data = marked if marked is not None else (9, memoryview(raw))
        if field not in (9, _FIELD_NUMBERS.get(dtype.field)):
            raise self.refuse(at, "values", f"{dtype.field} or raw_data", f"field {field}")
        if any(len(getattr(proto, name)) for name in _TYPED_FIELDS):
            raise self.refuse(at, "values", "one field of values", "several")
        self._sized(at, "raw_data", dtype.nbytes(count), len(data))
        return data

    def _typed(self, proto: Any, dtype: DType, count: int, at: str) -> memoryview:
        entries = getattr(proto, dtype.field)
        per_entry = {4: 2, 2: 4}.get(dtype.bits, 1)
        expected = -(-count // per_entry)
        if dtype.name.startswith("COMPLEX"):
            expected *= 2
        self._sized(at, dtype.field, expected, len(entries))
        if dtype.name in {"UINT32", "UINT64"}:
            stored: npt.NDArray[Any] = np.fromiter(entries, "<u8", expected)
            stored = stored.astype(f"<u{dtype.bits // 8}")
        elif dtype.field in _STORED:
            stored = np.fromiter(entries, _STORED[dtype.field], expected)
        else:
            stored = np.fromiter(entries, "<i4", expected)
            if dtype.bits == 6:
                bits = (stored[:, None] >> np.arange(6)) & 1
                stored = np.packbits(bits.astype(np.uint8).reshape(-1), bitorder="little")
            elif dtype.bits < 32:
                stored = stored.astype(f"<i{max(dtype.bits, 8) // 8}")
        return as_bytes(stored)

    def sparse(self, proto: Any, at: str) -> Tensor:
        """A sparse constant as a dense one, within a bound of size."""
        values = self.tensor(proto.values, at)
        indices = self.tensor(proto.indices, at)
        shape = tuple(proto.dims)
        item = BY_CODE[proto.values.data_type].bits // 8
        dense = prod(shape) * item
        if any(dim < 0 for dim in shape) or item == 0 or dense > _DENSE_BYTES_MAX:
            wanted = f"a dense form of at most {_DENSE_BYTES_MAX} bytes"
            raise self.refuse(at, "sparse tensor", wanted, f"shape {list(shape)[:8]}")
        if indices.dtype != "INT64" or not values.has_array:
            raise self.refuse(at, "sparse tensor", "INT64 indices", indices.dtype)
        where = indices.array
        if where.ndim == 2 and where.shape == (values.size, len(shape)):
            inside = bool((where >= 0).all() and (where < np.array(shape)).all())
            flat = np.ravel_multi_index(tuple(where.T), shape) if inside and shape else None
        else:
            inside = where.shape == (values.size,) and bool((where >= 0).all())
            flat = where if inside and (where < prod(shape)).all() else None
        if flat is None:
            raise self.refuse(at, "sparse tensor", "indices inside its shape", "others")
        result = np.zeros(prod(shape), values.array.dtype)
        result[flat] = values.array.reshape(-1)
        return Tensor.of(result.reshape(shape))

    def type(self, proto: Any, name: str, at: str, required: bool = False) -> Type | None:
        """The type in a TypeProto; None where it says nothing and need not."""
        kind = proto.WhichOneof("value")
        if kind is None:
            if required:
                raise self.refuse(at, "type", "a tensor's, sequence's or optional's", "none")
            return None
        if kind != "tensor_type":
            return OtherType(kind.removesuffix("_type"), proto.SerializeToString())
        tensor = proto.tensor_type
        if tensor.elem_type == 0 and not required:
            return None
        dtype = self._dtype(tensor.elem_type, at).name
        if not tensor.HasField("shape"):
            return TensorType(dtype, None)
        if len(tensor.shape.dim) > _RANK_MAX:
            got = len(tensor.shape.dim)
            raise self.refuse(at, "shape", f"at most {_RANK_MAX} dimensions", got)
        dims = (self._dim(dim, f"{name}.{i}", at) for i, dim in enumerate(tensor.shape.dim))
        return TensorType(dtype, tuple(dims))

    def _dim(self, proto: Any, name: str, at: str) -> Dim:
        if proto.WhichOneof("value") == "dim_param" and proto.dim_param not in _UNNAMED:
            return symbol(text(proto.dim_param))
        # Some exporters write -1 for a free dimension.
        if proto.WhichOneof("value") == "dim_value" and proto.dim_value != -1:
            size = int(proto.dim_value)
            if not 0 <= size < 1 << 62:
                raise self.refuse(at, "dimension", "0 or more", size)
            return size
        return symbol(f"?{quote(name)[1:-1]}")
