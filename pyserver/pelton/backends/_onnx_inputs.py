"""Inputs of any ONNX model: checked against its declared shapes, strings included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pelton._specs import TensorSpec
from pelton.backends._arrays import as_array, check_shape, wrong
from pelton.backends._requests import check_names
from pelton.backends.types import Array, InferOptions, InputValue

__all__ = ["checked_inputs"]


def checked_inputs(
    inputs: Mapping[str, InputValue],
    specs: Sequence[TensorSpec],
    axes: Sequence[int | None],
    options: InferOptions,
) -> tuple[list[Array], int]:
    """The arrays in the model's order, and how many rows they have (1 where `axes` names none).
    Raises `InvalidInput` naming the tensor."""
    check_names(inputs, specs)
    arrays: list[Array] = []
    rows: int | None = None
    first = ""
    for spec, axis in zip(specs, axes, strict=True):
        array = _array(inputs[spec.name], spec, exact=options.exact_dtypes)
        check_shape(array, spec.name, spec.shape)
        if axis is not None:
            if rows is None:
                rows, first = array.shape[axis], spec.name
            elif array.shape[axis] != rows:
                expected = f"{rows} rows on axis {axis}, as input {first!r} has"
                raise wrong(spec.name, expected, str(array.shape[axis]))
        arrays.append(array)
    return arrays, 1 if rows is None else rows


def _array(value: Any, spec: TensorSpec, *, exact: bool) -> Array:
    if spec.dtype == "BYTES":
        return _strings(value, spec.name)
    array = as_array(value, spec.name, spec.dtype, exact=exact)
    # Views of a request's body may lie anywhere; kernels want elements where they belong.
    return array if array.flags.aligned else np.require(array, requirements=("C", "A"))


def _strings(value: Any, name: str) -> Array:
    """As an array of str, which is what ONNX Runtime takes."""
    try:
        array = np.asarray(value, dtype=object)
    except ValueError:
        raise wrong(name, "lists of strings of equal length", "a ragged list") from None
    flat = array.reshape(-1)
    texts = np.empty(flat.shape, dtype=object)
    for i, element in enumerate(flat.tolist()):
        if isinstance(element, (bytes, bytearray)):
            try:
                element = bytes(element).decode()
            except UnicodeDecodeError:
                raise wrong(name, "strings in UTF-8", f"other bytes in element {i}") from None
        if not isinstance(element, str):
            raise wrong(name, "strings", f"{type(element).__name__} in element {i}")
        texts[i] = element
    return texts.reshape(array.shape)
