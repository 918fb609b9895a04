"""Between what a program holds and the tensors of the protocol."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pelton.codec.types import DATATYPES, Tensor, bf16_to_f32, datatype_of
from pelton.errors import InvalidInput

__all__ = ["Array", "to_array", "to_tensor"]

Array = npt.NDArray[Any]


def to_tensor(name: str, value: Any) -> Tensor:
    """A tensor of any array, of nested lists of numbers, or of lists of `str` and `bytes`.

    Anything that speaks DLPack, the buffer protocol or `__array__` is an array. Its dtype decides
    the datatype: lists of Python numbers become FP64, INT64 or BOOL, as NumPy has it.
    """
    array = _as_array(name, value)
    datatype = datatype_of(array.dtype)
    if datatype is None:
        raise InvalidInput(
            f"input {name!r} has dtype {array.dtype}, which no datatype of the protocol holds",
            tensor=name,
            expected=f"one of {', '.join(DATATYPES)}",
            got=str(array.dtype),
        )
    shape = tuple(array.shape)
    if datatype == "BYTES":
        elements = [_as_bytes(name, element) for element in array.ravel().tolist()]
        return Tensor(name, datatype, shape, elements)
    if datatype == "BF16":
        array = array.view(np.uint16)
    return Tensor(name, datatype, shape, array.astype(DATATYPES[datatype].storage, copy=False))


def _as_array(name: str, value: Any) -> Array:
    try:
        if isinstance(value, (str, bytes)) or _holds_text(value):
            # As objects: NumPy's own strings lose the zeros at their end.
            return np.array(value, dtype=object)
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except (ValueError, TypeError, BufferError) as error:
        raise InvalidInput(
            f"input {name!r} is no array: {error}",
            tensor=name,
            expected="an array, or lists of numbers or strings of one length",
            got=type(value).__name__,
        ) from None


def _holds_text(value: Any) -> bool:
    """Whether the first element of nested lists is a string."""
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return isinstance(value, (str, bytes))


def _as_bytes(name: str, element: Any) -> bytes:
    if isinstance(element, bytes):
        return element
    if isinstance(element, str):
        try:
            return element.encode()
        except UnicodeEncodeError:
            got = "a string with half of a surrogate pair"
    else:
        got = type(element).__name__
    raise InvalidInput(
        f"an element of input {name!r} is no text: expected str or bytes, got {got}",
        tensor=name,
        expected="str or bytes",
        got=got,
    )


def to_array(tensor: Tensor) -> Array:
    """An array that owns its memory: BF16 widened to float32, BYTES as objects of type bytes."""
    if isinstance(tensor.data, list):
        array = np.empty(len(tensor.data), dtype=object)
        array[:] = tensor.data
        return array.reshape(tensor.shape)
    if tensor.datatype == "BF16":
        return bf16_to_f32(tensor.data)
    return np.array(tensor.data)
