"""Protocol-buffer bytes of a model without its weights, which stay where they are.

Parsing a model as a whole copies every weight, and reading one out of the parsed message copies it
again. So the bytes are walked first: the payload of each large tensor is left out of what the
protobuf library parses and remembered as a range; a short mark, random for each reading, stands for
it. Lengths are checked against the bytes that are there before anything is done with them.

The encoding: https://protobuf.dev/programming-guides/encoding/. The field numbers: onnx.proto.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

__all__ = ["DEPTH_MAX", "SLIM_BYTES_MAX", "Slimmed", "WireError", "slim"]

#: A tensor's payload stays in the message below this size: shape arithmetic reads it there.
_LARGE: Final = 1024
#: Graphs within nodes within graphs; protobuf itself stops at 100 messages.
DEPTH_MAX: Final = 90
#: What may be left without the weights: the parsed form takes several times as much memory.
SLIM_BYTES_MAX: Final = 256 << 20

_MODEL, _GRAPH, _NODE, _ATTRIBUTE, _TENSOR, _SPARSE, _FUNCTION = range(7)
_CHILDREN: Final[dict[int, dict[int, int]]] = {
    _MODEL: {7: _GRAPH, 25: _FUNCTION},
    _GRAPH: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
    _FUNCTION: {7: _NODE},
    _TENSOR: {},
}
_RAW_DATA: Final = 9
#: raw_data, float_data and double_data are the bytes of the values as they lie in memory.
_PAYLOADS: Final = frozenset({_RAW_DATA, 4, 10})


class WireError(Exception):
    """The bytes are no protocol buffer: what is wrong and at which offset."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(f"{reason} at byte {offset}")
        self.offset = offset


class Slimmed:
    """The message without large payloads, and where those are."""

    def __init__(self, data: bytes) -> None:
        self.data = memoryview(data)
        self.slim = b""
        self._token = os.urandom(16)
        self._ranges: list[tuple[int, int, int]] = []

    def mark(self, field: int, start: int, end: int) -> bytes:
        """The bytes that stand for a payload."""
        self._ranges.append((field, start, end))
        return self._token + (len(self._ranges) - 1).to_bytes(8, "little")

    def payload(self, raw: bytes) -> tuple[int, memoryview] | None:
        """The field and bytes that a mark stands for; None for other bytes."""
        if len(raw) != 24 or raw[:16] != self._token:
            return None
        field, start, end = self._ranges[int.from_bytes(raw[16:], "little")]
        return field, self.data[start:end]


def slim(data: bytes) -> Slimmed:
    """Walks a ModelProto. Raises WireError for bytes that are none."""
    result = Slimmed(data)
    chunks = _message(result, _MODEL, 0, len(data), 0)
    if sum(map(len, chunks)) > SLIM_BYTES_MAX:
        raise WireError(f"more than {SLIM_BYTES_MAX} bytes beside the weights", len(data))
    result.slim = b"".join(chunks)
    return result


def _varint(data: memoryview, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise WireError("a number of more than ten bytes", at)
    raise WireError("it ends within a number", at)


def _fields(data: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """(field, wire type, start of the field, start of its value, its end)"""
    at = start
    while at < end:
        begin = at
        key, at = _varint(data, at, end)
        field, kind = key >> 3, key & 7
        if field == 0:
            raise WireError("a field numbered 0", begin)
        value = at
        if kind == 0:
            _, at = _varint(data, at, end)
        elif kind == 1:
            at += 8
        elif kind == 2:
            length, value = _varint(data, at, end)
            at = value + length
        elif kind == 5:
            at += 4
        else:
            raise WireError(f"a field of wire type {kind}", begin)
        if at > end:
            raise WireError(f"a field of {at - value} bytes where {end - value} are left", begin)
        yield field, kind, begin, value, at


def _encode(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _delimited(field: int, chunks: list[bytes | memoryview]) -> list[bytes | memoryview]:
    size = sum(map(len, chunks))
    return [_encode(field << 3 | 2) + _encode(size), *chunks]


def _message(out: Slimmed, kind: int, start: int, end: int, depth: int) -> list[bytes | memoryview]:
    if depth > DEPTH_MAX:
        raise WireError(f"messages nested more than {DEPTH_MAX} deep", start)
    if kind == _TENSOR:
        return _tensor(out, start, end)
    data, children = out.data, _CHILDREN[kind]
    chunks: list[bytes | memoryview] = []
    copied = start
    for field, wire, begin, value, after in _fields(data, start, end):
        if wire != 2 or after - value < _LARGE or field not in children:
            continue
        chunks.append(data[copied:begin])
        chunks += _delimited(field, _message(out, children[field], value, after, depth + 1))
        copied = after
    chunks.append(data[copied:end])
    return chunks


def _tensor(out: Slimmed, start: int, end: int) -> list[bytes | memoryview]:
    data = out.data
    found = [row for row in _fields(data, start, end) if row[0] in _PAYLOADS]
    if len(found) != 1 or found[0][1] != 2 or found[0][4] - found[0][3] < _LARGE:
        return [data[start:end]]
    field, _, begin, value, after = found[0]
    mark: list[bytes | memoryview] = [out.mark(field, value, after)]
    return [data[start:begin], *_delimited(_RAW_DATA, mark), data[after:end]]
