"""Checks of decoded values, shared by the JSON and msgpack readers, and the sentence for each
failure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from pelton.codec.types import DATATYPES, DataType, DecodeLimits, ParameterValue
from pelton.errors import InvalidInput, PayloadTooLarge

__all__ = [
    "Where",
    "check_body_size",
    "describe",
    "element_count",
    "read_datatype",
    "read_integer",
    "read_list",
    "read_map",
    "read_name",
    "read_parameters",
    "read_shape",
    "read_text",
]

_SHOWN_CHARS_MAX: Final = 60
_INT64_MIN: Final = -(2**63)
_UINT64_MAX: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Where:
    """The place of a value in the request: its path, and the tensor it belongs to once the name is
    known."""

    field: str
    tensor: str | None = None

    def __str__(self) -> str:
        place = self.field or "the body"
        return place if self.tensor is None else f"{place} (tensor {self.tensor!r})"

    def at(self, member: str) -> Where:
        return Where(f"{self.field}.{member}" if self.field else member, self.tensor)

    def item(self, index: int) -> Where:
        return Where(f"{self.field}[{index}]", self.tensor)

    def named(self, tensor: str) -> Where:
        return Where(self.field, tensor)

    def bad(self, expected: str, got: str, offset: int | None = None) -> InvalidInput:
        """The error that says what was expected here and what came."""
        tail = "" if offset is None else f", at byte {offset}"
        return InvalidInput(
            f"{self}: expected {expected}, got {got}{tail}",
            field=self.field or None,
            tensor=self.tensor,
            expected=expected,
            got=got,
            offset=offset,
        )

    def refused(self, reason: str) -> InvalidInput:
        """The error for something understood but not allowed."""
        return InvalidInput(f"{self}: {reason}", field=self.field or None, tensor=self.tensor)


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS_MAX else text[: _SHOWN_CHARS_MAX - 1] + "…"


def describe(value: Any) -> str:
    """A few words for what came, bounded whatever the value."""
    match value:
        case None:
            return "null or nothing"
        case bool():
            return "true" if value else "false"
        case int():
            digits = abs(value).bit_length() * 301 // 1000
            return f"the number {value}" if digits < 40 else f"an integer of about {digits} digits"
        case float():
            return f"the number {value!r}"
        case str():
            return f"the string {_shorten(value[: _SHOWN_CHARS_MAX + 1])!r}"
        case list():
            return f"an array of {len(value)}"
        case dict():
            return "an object"
    return _shorten(str(value))


def read_map(value: Any, where: Where) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise where.bad("an object", describe(value))
    return value


def read_list(value: Any, where: Where, items_max: int) -> list[Any]:
    if not isinstance(value, list):
        raise where.bad("an array", describe(value))
    if len(value) > items_max:
        raise where.bad(f"at most {items_max} items", f"{len(value)}")
    return value


def read_text(value: Any, where: Where, bytes_max: int) -> str:
    if not isinstance(value, str):
        raise where.bad("a string", describe(value))
    # UTF-8 takes one to four bytes a character: encode only when the count alone cannot tell.
    if len(value) * 4 > bytes_max and len(value.encode()) > bytes_max:
        raise where.bad(f"a string of at most {bytes_max} bytes", f"{len(value.encode())} bytes")
    return value


def read_name(value: Any, where: Where, limits: DecodeLimits) -> str:
    name = read_text(value, where, limits.name_bytes_max)
    if not name:
        raise where.bad("a name", "an empty string")
    return name


def read_integer(value: Any, where: Where, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise where.bad(f"an integer from {low} to {high}", describe(value))
    return value


def read_shape(value: Any, where: Where, limits: DecodeLimits) -> tuple[int, ...]:
    dims = read_list(value, where, limits.rank_max)
    for index, dim in enumerate(dims):
        if type(dim) is not int or dim < 0:
            raise where.item(index).bad("an integer of 0 or more", describe(dim))
    element_count(tuple(dims), where, limits)
    return tuple(dims)


def element_count(shape: tuple[int, ...], where: Where, limits: DecodeLimits) -> int:
    """The product of the dimensions, in exact integers.

    The limit holds for the product of the dimensions that are not 0: NumPy, like any engine that
    multiplies strides, cannot hold a shape whose other dimensions overflow.
    """
    if math.prod(dim or 1 for dim in shape) > limits.elements_max:
        raise where.bad(f"at most {limits.elements_max} elements", _shorten(f"shape {[*shape]}"))
    return math.prod(shape)


def read_datatype(value: Any, where: Where) -> DataType:
    datatype = DATATYPES.get(value) if isinstance(value, str) else None
    if datatype is None:
        raise where.bad(f"one of {', '.join(DATATYPES)}", describe(value))
    return datatype


def read_parameters(value: Any, where: Where, limits: DecodeLimits) -> dict[str, ParameterValue]:
    """A map of strings, 64-bit integers, finite numbers and booleans; absent is empty."""
    if value is None:
        return {}
    parameters = read_map(value, where)
    if len(parameters) > limits.parameters_max:
        raise where.bad(f"at most {limits.parameters_max} parameters", str(len(parameters)))
    for name, item in parameters.items():
        read_text(name, where, limits.name_bytes_max)
        place = where.at(name)
        if isinstance(item, str):
            read_text(item, place, limits.string_bytes_max)
        elif type(item) is int:
            read_integer(item, place, _INT64_MIN, _UINT64_MAX)
        elif isinstance(item, float):
            if not math.isfinite(item):
                raise place.bad("a finite number", describe(item))
        elif not isinstance(item, bool):
            raise place.bad("a string, number or boolean", describe(item))
    return parameters


def check_body_size(size: int, limits: DecodeLimits) -> None:
    if size > limits.body_bytes_max:
        raise PayloadTooLarge(
            f"the body has {size} bytes, the limit is {limits.body_bytes_max}",
            expected=f"at most {limits.body_bytes_max} bytes",
            got=f"{size} bytes",
        )
