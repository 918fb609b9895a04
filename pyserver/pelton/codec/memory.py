"""Tensors whose bytes lie in shared memory, and the bytes of tensors that go there."""

from __future__ import annotations

import math

from pelton.codec._checks import Where
from pelton.codec._raw import raw_bytes, view_raw
from pelton.codec.types import DATATYPES, SharedInput, Tensor

__all__ = ["shared_bytes", "shared_tensor"]


def shared_tensor(shared: SharedInput, raw: memoryview) -> Tensor:
    """The input whose bytes are `raw`, a copy that nobody else writes to. Raises InvalidInput
    unless they are exactly its elements; offsets in the error are those in `raw`."""
    datatype = DATATYPES[shared.datatype]
    where = Where("parameters.shared_memory_byte_size", shared.name)
    data = view_raw(raw, datatype, shared.shape, math.prod(shared.shape), where, 0)
    return Tensor(shared.name, shared.datatype, shared.shape, data)


def shared_bytes(tensor: Tensor) -> bytes | memoryview:
    """What is put into shared memory: little-endian, row-major, BYTES with their lengths."""
    return raw_bytes(tensor)
