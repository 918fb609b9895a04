"""Between arrays and lists of Python values: range-checked on the way in, shortest on the way
out."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pelton.codec._checks import Where, describe
from pelton.codec.types import DATATYPES, DataType, Tensor, bf16_to_f32, f32_to_bf16

__all__ = [
    "first_non_finite",
    "from_elements",
    "from_floats",
    "read_elements",
    "shortest_floats",
    "to_values",
]

_FLOAT_NAMES: Final = {"FP16": "16-bit", "BF16": "BF16", "FP32": "32-bit", "FP64": "64-bit"}
#: Decimal digits to try: up to those that tell all values apart, from those that the coarsest of
#: its values near 1 need (the subnormal ones of FP16 need one; those of the others are far from 1).
_DIGITS: Final = {"FP16": range(1, 6), "BF16": range(2, 5), "FP32": range(6, 10)}
#: Powers of ten that float64 holds exactly; a quotient of two exact numbers is rounded only once.
_POWERS: Final = 10.0 ** np.arange(23)
#: Below this many floats one after the other, as NumPy prints them, costs less than all at once.
_ALL_AT_ONCE_MIN: Final = 128


def from_elements(
    elements: list[Any], datatype: DataType, where: Where, *, infinities: bool
) -> npt.NDArray[Any]:
    """A flat array in storage dtype from parsed numbers or booleans. Not for BYTES.

    Every element must be of the datatype's own kind and in its range: nothing wraps, nothing is
    rounded to an integer, nothing finite becomes infinite. `infinities`: an infinite element was
    written as such (see `pelton.codec._json.Document.has_infinity`).
    """
    if datatype.kind == "bool":
        return _booleans(elements, where)
    if datatype.kind == "int":
        return _integers(elements, datatype, where)
    return _floats(elements, datatype, where, infinities=infinities)


def _refuse(
    elements: list[Any], wrong: Callable[[Any], bool], expected: str, where: Where
) -> Exception:
    index = next(index for index, element in enumerate(elements) if wrong(element))
    return where.item(index).bad(expected, describe(elements[index]))


def _kinds(elements: list[Any]) -> set[type]:
    return set(map(type, elements))


def _booleans(elements: list[Any], where: Where) -> npt.NDArray[Any]:
    kinds = _kinds(elements)
    if not kinds <= {bool, int} or (int in kinds and not set(elements) <= {0, 1}):
        raise _refuse(
            elements,
            lambda item: type(item) not in (bool, int) or item not in (0, 1),
            "true, false, 0 or 1",
            where,
        )
    return np.array(elements, dtype=np.bool_)


def _integers(elements: list[Any], datatype: DataType, where: Where) -> npt.NDArray[Any]:
    expected = f"an integer from {datatype.low} to {datatype.high} for {datatype.name}"
    low, high = datatype.low, datatype.high
    if not _kinds(elements) <= {int} or (
        elements and not (low <= min(elements) and max(elements) <= high)
    ):
        raise _refuse(
            elements, lambda item: type(item) is not int or not low <= item <= high, expected, where
        )
    return np.array(elements, dtype=datatype.storage)


def _floats(
    elements: list[Any], datatype: DataType, where: Where, *, infinities: bool
) -> npt.NDArray[Any]:
    if not _kinds(elements) <= {int, float}:
        raise _refuse(
            elements,
            lambda item: type(item) not in (int, float),
            f"a number for {datatype.name}",
            where,
        )
    try:
        wide = np.array(elements, dtype=np.float64)
    except OverflowError:
        largest = int(np.finfo(np.float64).max)
        raise _refuse(
            elements,
            lambda item: abs(item) > largest,
            f"a number that fits {_FLOAT_NAMES[datatype.name]}",
            where,
        ) from None
    return from_floats(wide, datatype, where, infinities=infinities)


def from_floats(
    wide: npt.NDArray[np.float64], datatype: DataType, where: Where, *, infinities: bool = True
) -> npt.NDArray[Any]:
    """Round float64 to the storage of a float datatype; InvalidInput where a finite value
    overflows."""
    # invalid: a signalling NaN becomes a quiet one.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if datatype.name == "BF16":
            bits = f32_to_bf16(wide.astype(np.float32))
            narrow: npt.NDArray[Any] = bits
            infinite = (bits & 0x7FFF) == 0x7F80
        else:
            narrow = wide.astype(datatype.storage)
            infinite = np.isinf(narrow)
    overflowed = infinite & np.isfinite(wide) if infinities else infinite
    if overflowed.any():
        index = int(np.argmax(overflowed))
        got = describe(float(wide[index]))
        if np.isinf(wide[index]):
            got = "a number too large for 64-bit"
        raise where.item(index).bad(f"a number that fits {_FLOAT_NAMES[datatype.name]}", got)
    return narrow


def read_elements(data: Any, shape: tuple[int, ...], where: Where) -> list[Any]:
    """The elements of `data`, which is flat or nested exactly as `shape` says, in row-major order.

    `data` may be absent (None) where `shape` has no elements.
    """
    count = math.prod(shape)
    if data is None:
        if count:
            raise where.bad(f"{count} elements for shape {[*shape]}", "no data")
        return []
    elements = _flatten(data, shape, where)
    if len(elements) != count:
        raise where.bad(f"{count} elements for shape {[*shape]}", f"{len(elements)}")
    return elements


def _flatten(data: Any, shape: tuple[int, ...], where: Where) -> list[Any]:
    if not isinstance(data, list):
        if shape == () and not isinstance(data, dict):
            return [data]
        raise where.bad("an array", describe(data))
    if not data or not isinstance(data[0], list):
        return data
    level: list[Any] = [data]
    for axis, dim in enumerate(shape):
        if not _is_uniform(level, dim):
            raise _misnested(level, shape, axis, where)
        level = list(chain.from_iterable(level))
    if list in _kinds(level):
        raise _misnested(level, shape, len(shape), where)
    return level


def _is_uniform(level: list[Any], dim: int) -> bool:
    return _kinds(level) <= {list} and set(map(len, level)) <= {dim}


def _misnested(level: list[Any], shape: tuple[int, ...], axis: int, where: Where) -> Exception:
    """The error for the first item at depth `axis` that is not what `shape` says."""
    dim = shape[axis] if axis < len(shape) else None

    def wrong(item: Any) -> bool:
        if dim is None:
            return isinstance(item, list)
        return not isinstance(item, list) or len(item) != dim

    index = next(index for index, item in enumerate(level) if wrong(item))
    got = describe(level[index])
    place = where
    for coordinate in np.unravel_index(index, shape[:axis]) if axis else ():
        place = place.item(int(coordinate))
    expected = "an element" if dim is None else f"an array of {dim}"
    return place.bad(f"{expected} for shape {[*shape]}", got)


def first_non_finite(tensor: Tensor) -> int | None:
    """The flat index of the first NaN or infinity of a float tensor, or None."""
    if DATATYPES[tensor.datatype].kind != "float":
        return None
    array = tensor.array
    if tensor.datatype == "BF16":
        finite = (array & np.uint16(0x7F80)) != 0x7F80
    else:
        finite = np.isfinite(array)
    return None if finite.all() else int(np.argmin(finite))


def to_values(tensor: Tensor, *, non_finite_null: bool) -> list[Any]:
    """The flat list of Python values that prints as the tensor's JSON `data`. Not for BYTES."""
    if DATATYPES[tensor.datatype].kind != "float":
        values: list[Any] = tensor.array.ravel().tolist()
        return values
    floats = shortest_floats(tensor.array.ravel(), tensor.datatype)
    if non_finite_null and first_non_finite(tensor) is not None:
        return [value if abs(value) < np.inf else None for value in floats]
    return floats


def shortest_floats(flat: npt.NDArray[Any], datatype: str) -> list[float]:
    """Floats whose `repr` is the shortest decimal that reads back, rounded to `datatype`, as the
    same value.

    Widening 0.1 from 32 bits prints 0.10000000149011612. So each value is first rounded to the
    fewest significant digits that survive the way back. The decimal d / 10**k is computed by one
    division of two numbers that float64 holds exactly, so it is the float64 closest to that
    decimal, and `repr` of it prints that decimal.
    """
    values = bf16_to_f32(flat) if datatype == "BF16" else flat
    if datatype == "FP64":
        exact: list[float] = values.tolist()
        return exact
    if values.size < _ALL_AT_ONCE_MIN and datatype != "BF16":
        return [float(str(value)) for value in values]
    with np.errstate(invalid="ignore"):
        wide = values.astype(np.float64)
    rest = np.flatnonzero(np.isfinite(wide) & (wide != 0))
    with np.errstate(over="ignore"):
        exponents = np.floor(np.log10(np.abs(wide[rest]))).astype(np.int64)
        for digits in _DIGITS[datatype]:
            found, candidates = _round_decimal(wide[rest], digits - 1 - exponents, flat[rest])
            wide[rest[found]] = candidates[found]
            rest, exponents = rest[~found], exponents[~found]
    floats: list[float] = wide.tolist()
    for index in rest.tolist():  # far from 1, where the powers of ten are not exact
        floats[index] = float(str(values[index]))
    return floats


def _round_decimal(
    wide: npt.NDArray[np.float64], places: npt.NDArray[np.int64], narrow: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Round to `places` decimal places; also which of the results read back as `narrow`."""
    scale = _POWERS[np.clip(np.abs(places), 0, 22)]
    whole = places < 0
    scaled = np.rint(np.where(whole, wide / scale, wide * scale))
    candidates = np.where(whole, scaled * scale, scaled / scale)
    exact = (np.abs(places) <= 22) & (~whole | (np.abs(candidates) < 2.0**53))
    if narrow.dtype == np.uint16:
        back: npt.NDArray[Any] = f32_to_bf16(candidates.astype(np.float32))
    else:
        back = candidates.astype(narrow.dtype)
    return exact & (back == narrow), candidates
