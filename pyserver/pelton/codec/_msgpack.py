"""msgpack (github.com/msgpack/msgpack, spec.md) read strictly: a flat scan first, then values.

`unpackb` of the msgpack package builds lists at the length that a body claims, nests to 1,024 and
copies every `bin`. Here a flat walk over the tokens, which recurses and allocates nothing, first
checks every length against the bytes that are left and counts what would be built; only then are
values made, and `bin` stays a view of the body.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import numpy as np

from pelton.codec.types import DecodeLimits
from pelton.errors import InvalidInput, PayloadTooLarge

__all__ = ["TENSOR_EXT", "Blob", "parse_msgpack"]

#: The extension type of a tensor in one blob; no other extension is read.
TENSOR_EXT: Final = 0x54

_DEPTH_MAX: Final = 8
_MAP_ENTRIES_MAX: Final = 64
_ALL_ENTRIES_MAX: Final = 1024
#: Arrays and maps in all: an empty one is one byte here and sixty in memory.
_CONTAINERS_MAX: Final = 1 << 16
#: Arrays shorter than this are walked; the check whether a longer one is uniform pays for itself.
_RUN_MIN: Final = 16

_CODES: Final = {
    0xCA: ("f", ">f4"),
    0xCB: ("d", ">f8"),
    0xCC: ("B", "u1"),
    0xCD: ("H", ">u2"),
    0xCE: ("I", ">u4"),
    0xCF: ("Q", ">u8"),
    0xD0: ("b", "i1"),
    0xD1: ("h", ">i2"),
    0xD2: ("i", ">i4"),
    0xD3: ("q", ">i8"),
}
_STRUCTS: Final = {tag: struct.Struct(">" + code) for tag, (code, _) in _CODES.items()}
_ITEMS: Final[dict[int, np.dtype[Any]]] = {
    tag: np.dtype([("tag", "u1"), ("value", dtype)]) for tag, (_, dtype) in _CODES.items()
}
_CONSTANTS: Final = {0xC0: None, 0xC2: False, 0xC3: True}
#: Bytes of a whole scalar by its first byte; 0 for everything else.
_SCALAR_BYTES: Final = bytes(
    1
    if tag <= 0x7F or tag >= 0xE0 or tag in _CONSTANTS
    else _ITEMS[tag].itemsize
    if tag in _ITEMS
    else 0
    for tag in range(256)
)
#: By the first byte: how many bytes of length follow in bin, ext, str, array and map.
_LENGTH_BYTES: Final = dict(
    zip(
        (0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF),
        (1, 2, 4, 1, 2, 4, 1, 2, 4, 2, 4, 2, 4),
        strict=True,
    )
)
_FIXED_EXT: Final = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}


@dataclass(frozen=True, slots=True)
class Blob:
    """A `bin` (`code` None) or an extension of type `code`; `offset` is where `raw` starts."""

    raw: memoryview
    offset: int
    code: int | None = None

    def __str__(self) -> str:
        what = "bytes" if self.code is None else f"bytes of extension type {self.code:#x}"
        return f"{len(self.raw)} {what}"


#: A token: its kind; its length (bytes of str, bin, ext and scalars, items of array and map); where
#: what follows its head starts; the type of an ext.
_Token = tuple[str, int, int, int | None]


def _bad(message: str, offset: int) -> InvalidInput:
    return InvalidInput(f"the body is not msgpack: {message}, at byte {offset}", offset=offset)


def _token(body: memoryview, position: int) -> _Token:
    """The token at `position`. Its head lies in the body, and so do its bytes if it has any."""
    if position >= len(body):
        raise _bad("it ends where a value was expected", position)
    tag = body[position]
    start = position + 1
    code = None
    if scalar_bytes := _SCALAR_BYTES[tag]:
        kind, length = "scalar", scalar_bytes - 1
    elif tag <= 0x8F:
        return "map", tag & 0x0F, start, None
    elif tag <= 0x9F:
        return "array", tag & 0x0F, start, None
    elif tag <= 0xBF:
        kind, length = "str", tag & 0x1F
    elif tag == 0xC1:
        raise _bad("the byte 0xC1 is never used", position)
    elif tag in _FIXED_EXT:
        kind, length = "ext", _FIXED_EXT[tag]
    else:
        width = _LENGTH_BYTES[tag]
        length = int.from_bytes(body[start : start + width], "big")
        start += width
        if start > len(body):
            raise _bad("it ends inside a length", position)
        if tag >= 0xDC:
            return ("array" if tag <= 0xDD else "map"), length, start, None
        kind = "bin" if tag <= 0xC6 else "ext" if tag <= 0xC9 else "str"
    if kind == "ext":
        if start >= len(body):
            raise _bad("it ends inside an extension", position)
        code = body[start]
        start += 1
    if length > len(body) - start:
        raise _bad(f"{length} bytes of {kind} are declared, {len(body) - start} are left", position)
    return kind, length, start, code


class _Scan:
    """The flat walk over one body. The counters are over the whole of it."""

    def __init__(self, body: memoryview, limits: DecodeLimits) -> None:
        self._body = body
        self._limits = limits
        self._nodes = 0
        self._objects = 0
        self._containers = 0
        self._extensions = 0
        self._entries = 0
        # Of each open container: how many items are still to come, and the keys seen of a map.
        self._left = [1]
        self._keys: list[set[bytes] | None] = [None]

    def run(self) -> None:
        """Raises InvalidInput or PayloadTooLarge unless the body is one value within bounds."""
        position = 0
        while self._left:
            keys = self._keys[-1]
            if keys is None:
                position = self._leaves(position)
            if not self._left[-1]:
                self._left.pop()
                self._keys.pop()
                continue
            self._left[-1] -= 1
            if keys is not None:
                position = self._key(position, keys)
            position = self._value(position)
        if position != len(self._body):
            raise _bad(f"{len(self._body) - position} bytes follow the value", position)

    def _leaves(self, position: int) -> int:
        """Step over the scalars and short strings that come next in an array, or at the root; of
        more than there may be, over the first too many."""
        body, end, left = self._body, len(self._body), self._left[-1]
        before, strings = left, 0
        enough = max(left - (self._limits.nodes_max - self._nodes) - 1, 0)
        while left > enough and position < end:
            tag = body[position]
            size = _SCALAR_BYTES[tag]
            if not size:
                if not 0xA0 <= tag <= 0xBF:
                    break
                size = tag - 0x9F
                strings += 1
            if position + size > end:
                break  # `_value` says what is missing
            position += size
            left -= 1
        self._left[-1] = left
        self._count(before - left, strings, position)
        return position

    def _value(self, position: int) -> int:
        kind, length, start, code = token = _token(self._body, position)
        if kind in ("array", "map"):
            self._count(1, 0, position)
            return self._container(token, position)
        self._count(1, kind != "scalar", position)
        if kind == "str" and length > self._limits.string_bytes_max:
            raise _bad(f"a str has more than {self._limits.string_bytes_max} bytes", position)
        if kind == "ext":
            if code != TENSOR_EXT:
                raise _bad(f"extension type {code:#x} is not {TENSOR_EXT:#x}", position)
            self._extensions += 1
            if self._extensions > self._limits.tensors_max:
                self._refuse("extensions", self._limits.tensors_max, position)
        return start + length

    def _count(self, nodes: int, objects: int, position: int) -> None:
        self._nodes += nodes
        self._objects += objects
        if self._nodes > self._limits.nodes_max:
            self._refuse("values", self._limits.nodes_max, position)
        if self._objects > self._limits.containers_max:
            self._refuse("strings and blobs", self._limits.containers_max, position)

    def _refuse(self, what: str, count_max: int, position: int) -> NoReturn:
        raise PayloadTooLarge(
            f"the body holds more than {count_max} {what}, at byte {position}",
            expected=f"at most {count_max} {what}",
            offset=position,
        )

    def _container(self, token: _Token, position: int) -> int:
        """Open an array or map, or step over an array of numbers; the position to go on from."""
        kind, length, start, _ = token
        is_map = kind == "map"
        left = len(self._body) - start
        if length * (2 if is_map else 1) > left:
            raise _bad(f"{length} items of {kind} cannot fit {left} bytes", position)
        if len(self._left) > _DEPTH_MAX:
            raise _bad(f"values are nested deeper than {_DEPTH_MAX}", position)
        self._containers += 1
        if self._containers > _CONTAINERS_MAX:
            self._refuse("arrays and maps", _CONTAINERS_MAX, position)
        if is_map:
            self._entries += length
            if length > _MAP_ENTRIES_MAX or self._entries > _ALL_ENTRIES_MAX:
                raise _bad(
                    f"more than {_MAP_ENTRIES_MAX} entries in a map or {_ALL_ENTRIES_MAX} in all",
                    position,
                )
        elif (run := _number_run(self._body, token)) is not None:
            self._count(length, 0, position)
            return start + run.size
        self._left.append(length)
        self._keys.append(set() if is_map else None)
        return start

    def _key(self, position: int, keys: set[bytes]) -> int:
        kind, length, start, _ = _token(self._body, position)
        if kind not in ("str", "bin"):
            raise _bad(f"a map key is of kind {kind}, not str or bin", position)
        if length > self._limits.name_bytes_max:
            raise _bad(f"a map key has more than {self._limits.name_bytes_max} bytes", position)
        key = bytes(self._body[start : start + length])
        if key in keys:
            raise _bad(f"the key {_text(key, start)!r} comes twice in one map", position)
        keys.add(key)
        return start + length


def _text(raw: bytes | memoryview, start: int) -> str:
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError as error:
        raise _bad("a str or key is not UTF-8", start + error.start) from None


@dataclass(frozen=True, slots=True)
class _Run:
    """An array whose items are numbers of one encoded width: `size` bytes, read as `dtype`."""

    size: int
    dtype: np.dtype[Any]


def _number_run(body: memoryview, token: _Token) -> _Run | None:
    _, length, start, _ = token
    if length < _RUN_MIN:
        return None
    tag = body[start]
    if tag <= 0x7F or tag >= 0xE0:  # read as int8 they are what they encode
        octets = np.frombuffer(body, np.int8, length, start)
        return _Run(length, octets.dtype) if octets.min() >= -32 else None
    item = _ITEMS.get(tag)
    if item is None or length * item.itemsize > len(body) - start:
        return None
    items = np.frombuffer(body, item, length, start)
    return _Run(items.nbytes, item) if (items["tag"] == tag).all() else None


class _Reader:
    """Builds the values of a body that `_Scan` let pass; what is left to check is UTF-8."""

    def __init__(self, body: memoryview) -> None:
        self._body = body
        self._position = 0

    def read(self) -> Any:
        body, position = self._body, self._position
        kind, length, start, code = token = _token(body, position)
        end = start + length
        if kind == "map":
            self._position = start
            return {self._read_key(): self.read() for _ in range(length)}
        if kind == "array":
            self._position = start
            return self._read_array(token)
        self._position = end
        if kind == "str":
            return _text(body[start:end], start)
        if kind == "scalar":
            return _scalar(body, position)
        return Blob(body[start:end], start, code)

    def _read_array(self, token: _Token) -> list[Any]:
        _, length, start, _ = token
        run = _number_run(self._body, token)
        if run is not None:
            self._position += run.size
            items = np.frombuffer(self._body, run.dtype, length, start)
            numbers: list[Any] = (items["value"] if run.dtype.names else items).tolist()
            return numbers
        return [self._read_item() for _ in range(length)]

    def _read_item(self) -> Any:
        """An item of an array; a `bin` there is small, and `bytes` take a fifth of a Blob."""
        position = self._position
        if size := _SCALAR_BYTES[self._body[position]]:
            self._position += size
            return _scalar(self._body, position)
        value = self.read()
        return bytes(value.raw) if type(value) is Blob and value.code is None else value

    def _read_key(self) -> str:
        _, length, start, _ = _token(self._body, self._position)
        self._position = start + length
        return _text(self._body[start : self._position], start)


def _scalar(body: memoryview, position: int) -> Any:
    tag = body[position]
    if tag <= 0x7F:
        return tag
    if tag >= 0xE0:
        return tag - 256
    if tag in _CONSTANTS:
        return _CONSTANTS[tag]
    return _STRUCTS[tag].unpack_from(body, position + 1)[0]


def parse_msgpack(body: memoryview, limits: DecodeLimits) -> Any:
    """The value in `body`: Python scalars, lists, dicts with str keys, and Blobs.

    Raises InvalidInput with the byte offset where the body is not msgpack or not what we read of
    it, PayloadTooLarge where it holds more values than the limits allow.
    """
    if not len(body):
        raise InvalidInput("the body is empty, expected msgpack", expected="msgpack", got="0 bytes")
    _Scan(body, limits).run()
    return _Reader(body).read()
