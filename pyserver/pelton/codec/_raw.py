"""Tensors as raw bytes: little-endian, row-major, no padding; the form of every binary format.

Numbers become views of the body, never copies. A BYTES element is a uint32 length and its bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pelton._specs import TensorSpec
from pelton.codec._checks import Where
from pelton.codec.types import DataType, Tensor

__all__ = ["as_memory", "deduce_shape", "join_bytes", "raw_bytes", "split_bytes", "view_raw"]

_LENGTH: Final = struct.Struct("<I")


def view_raw(
    raw: memoryview,
    datatype: DataType,
    shape: tuple[int, ...],
    count: int,
    where: Where,
    offset: int,
) -> npt.NDArray[Any] | list[bytes]:
    """The tensor data in `raw`, which lies at `offset` of the body.

    `count` is the product of `shape`. Raises InvalidInput unless `raw` holds exactly that many
    elements.
    """
    if datatype.kind == "bytes":
        return split_bytes(raw, count, where, offset)
    expected = count * datatype.width
    if len(raw) != expected:
        raise where.bad(
            f"{expected} bytes for {datatype.name} of shape {[*shape]}",
            f"{len(raw)} bytes",
            offset,
        )
    if datatype.kind == "bool":
        octets = np.frombuffer(raw, dtype=np.uint8)
        wrong = octets > 1
        if wrong.any():
            index = int(np.argmax(wrong))
            raise where.item(index).bad(
                "a byte of 0 or 1 for BOOL", f"{octets[index]}", offset + index
            )
    return np.frombuffer(raw, dtype=datatype.storage, count=count).reshape(shape)


def split_bytes(raw: memoryview, count: int, where: Where, offset: int) -> list[bytes]:
    """The `count` elements of a BYTES tensor."""
    size = len(raw)
    if count * _LENGTH.size > size:
        raise where.bad(
            f"{count} elements, so {count * _LENGTH.size} bytes or more", f"{size} bytes", offset
        )
    elements: list[bytes] = []
    position = 0
    for index in range(count):
        if size - position < _LENGTH.size:
            raise where.item(index).bad(
                "a length of 4 bytes", f"{size - position} bytes", offset + position
            )
        (length,) = _LENGTH.unpack_from(raw, position)
        position += _LENGTH.size
        if length > size - position:
            raise where.item(index).bad(
                f"an element of {length} bytes", f"{size - position} bytes left", offset + position
            )
        elements.append(bytes(raw[position : position + length]))
        position += length
    if position != size:
        raise where.bad(
            f"{count} elements", f"{size - position} bytes behind the last", offset + position
        )
    return elements


def join_bytes(elements: Iterable[bytes]) -> bytes:
    pieces: list[bytes] = []
    for element in elements:
        pieces.append(_LENGTH.pack(len(element)))
        pieces.append(element)
    return b"".join(pieces)


def raw_bytes(tensor: Tensor) -> bytes | memoryview:
    """The tensor as raw bytes; a view where its array is already contiguous."""
    if isinstance(tensor.data, list):
        return join_bytes(tensor.data)
    return as_memory(tensor.data)


def as_memory(array: npt.NDArray[Any]) -> memoryview:
    """The bytes of an array, little-endian and row-major; a view where it has that form."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(little).reshape(-1).view(np.uint8).data


def deduce_shape(spec: TensorSpec, count: int, where: Where) -> tuple[int, ...]:
    """The shape of `count` elements that came without one, for an input like `spec`.

    A free first dimension is a batch of 1; at most one other free dimension follows from the count.
    Raises InvalidInput where no shape fits.
    """
    shape = [1 if axis == 0 and dim == -1 else dim for axis, dim in enumerate(spec.shape)]
    free = [axis for axis, dim in enumerate(shape) if dim == -1]
    if len(free) > 1:
        raise where.refused(
            f"data without a shape cannot fill the {len(free)} free dimensions of {[*spec.shape]}"
        )
    known = math.prod(dim for dim in shape if dim != -1)
    if free:
        if known == 0 or count % known:
            raise where.bad(f"a multiple of {known} elements for {[*spec.shape]}", f"{count}")
        shape[free[0]] = count // known
    elif count != known:
        raise where.bad(f"{known} elements for one row of {[*spec.shape]}", f"{count}")
    return tuple(shape)
