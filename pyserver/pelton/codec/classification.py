"""The classification extension: the largest values of an output, with their places and labels.

Source: triton-inference-server/server `docs/protocol/extension_classification.md`, and its code,
which sends BYTES and prints values as C++ `std::to_string` does. Where that code leaves things
open, here NaN comes last and equal values in the order of their places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pelton.codec.types import DATATYPES, Tensor
from pelton.errors import InvalidInput

__all__ = ["ELEMENTS_MAX", "classify"]

#: Most strings of one answer.
ELEMENTS_MAX: Final = 1 << 20


def classify(tensor: Tensor, count: int, labels: Sequence[str] = (), *, batched: bool) -> Tensor:
    """BYTES [batch, min(count, classes)], each element `value:index` or `value:index:label`, the
    largest first; without a batch axis [min(count, classes)].

    All axes but the batch's are one row of classes. Raises `InvalidInput` for a datatype that has
    no order worth a name (BOOL, BYTES, BF16), and where the answer would have over `ELEMENTS_MAX`
    elements. REQUIRES: count >= 1.
    """
    kind = DATATYPES[tensor.datatype].kind
    if kind not in ("int", "float") or tensor.datatype == "BF16":
        raise InvalidInput(
            f"classification of output {tensor.name!r}: expected integers or floats, "
            f"got {tensor.datatype}",
            tensor=tensor.name,
            field="classification",
            expected="integers or floats",
            got=tensor.datatype,
        )
    rows = tensor.shape[0] if batched else 1
    classes = math.prod(tensor.shape[1:] if batched else tensor.shape)
    kept = min(count, classes)
    if rows * kept > ELEMENTS_MAX:
        raise InvalidInput(
            f"classification of output {tensor.name!r}: expected at most {ELEMENTS_MAX} elements, "
            f"got {rows} rows of {kept}",
            tensor=tensor.name,
            field="classification",
            expected=f"at most {ELEMENTS_MAX} elements",
            got=f"{rows} rows of {kept}",
        )
    values = tensor.array.reshape(rows, classes)
    places = _largest(values, kept)
    chosen = np.take_along_axis(values, places, axis=1)
    data = [
        _element(value, place, labels, integer=kind == "int")
        for value, place in zip(chosen.ravel().tolist(), places.ravel().tolist(), strict=True)
    ]
    return Tensor(tensor.name, "BYTES", (rows, kept) if batched else (kept,), data)


def _largest(values: npt.NDArray[Any], kept: int) -> npt.NDArray[np.int64]:
    """The places of the `kept` largest values of each row. A stable sort of the reversed order:
    bitwise not reverses integers without overflow, and NaN stays last under a minus."""
    reversed_order = -values if values.dtype.kind == "f" else ~values
    return np.argsort(reversed_order, axis=1, kind="stable")[:, :kept]


def _element(value: float, place: int, labels: Sequence[str], *, integer: bool) -> bytes:
    text = f"{value}:{place}" if integer else f"{value:f}:{place}"
    return (f"{text}:{labels[place]}" if place < len(labels) else text).encode()
