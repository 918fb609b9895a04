"""Anything that holds numbers, as a C-contiguous array of the dtype that a model wants.

Nothing is copied that is already an array of that dtype, contiguous and on this device: NumPy
arrays, what speaks DLPack (torch, jax, cupy on the host), what speaks the buffer protocol. Lists of
numbers are converted.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pelton.backends.types import NUMPY_DTYPES, Array
from pelton.errors import InvalidInput

__all__ = ["as_array", "check_finite", "check_shape", "dtype_name", "wrong"]

_DLPACK_CPU: Final = 1
_DLPACK_HOST_DEVICES: Final = (_DLPACK_CPU, 3)  # 3: pinned host memory
_NAME_OF: Final = {dtype: name for name, dtype in NUMPY_DTYPES.items()}


def dtype_name(array: Array) -> str:
    """The protocol's name of an array's dtype, or NumPy's where the protocol has none."""
    return _NAME_OF.get(array.dtype.newbyteorder("<"), str(array.dtype))


def wrong(tensor: str, expected: str, got: str) -> InvalidInput:
    """The error for an input that does not fit the model."""
    return InvalidInput(
        f"input {tensor!r}: expected {expected}, got {got}",
        tensor=tensor,
        expected=expected,
        got=got,
    )


def _view(value: Any, tensor: str, wanted: np.dtype[Any]) -> Array:
    """`value` as an array of whatever dtype it has."""
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "__dlpack__"):
        return _from_dlpack(value, tensor)
    if isinstance(value, (list, tuple, int, float, bool)):
        try:
            array = np.asarray(value)
        except (ValueError, OverflowError):
            raise wrong(tensor, "lists of numbers of equal length", "a ragged list") from None
        # An empty list says nothing about its dtype.
        return array if array.size else array.astype(wanted)
    try:
        return np.asarray(memoryview(value))
    except (TypeError, ValueError):
        pass
    if hasattr(value, "__array__"):
        return np.asarray(value)
    raise wrong(tensor, "an array", type(value).__name__)


def _from_dlpack(value: Any, tensor: str) -> Array:
    device = value.__dlpack_device__() if hasattr(value, "__dlpack_device__") else None
    if device is not None and int(device[0]) not in _DLPACK_HOST_DEVICES:
        raise wrong(
            tensor, "an array in host memory", f"one on DLPack device {tuple(map(int, device))}"
        )
    try:
        return np.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError) as error:
        raise wrong(tensor, "an array that DLPack can export", str(error)) from None


def _convert(array: Array, tensor: str, wanted: np.dtype[Any]) -> Array:
    """A copy in the wanted dtype, where no value changes its meaning."""
    expected = _NAME_OF[wanted]
    integers = array.dtype.kind in "iu" and wanted.kind in "iu"
    if not integers and not np.can_cast(array.dtype, wanted, "same_kind"):
        raise wrong(tensor, f"an array of {expected}", f"one of {dtype_name(array)}")
    if wanted.kind in "iu" and array.size and not np.can_cast(array.dtype, wanted, "safe"):
        low, high = np.iinfo(wanted).min, np.iinfo(wanted).max
        for extreme in (int(array.min()), int(array.max())):
            if not low <= extreme <= high:
                raise wrong(tensor, f"integers from {low} to {high}", str(extreme))
    return array.astype(wanted)


def as_array(value: Any, tensor: str, dtype: str, *, exact: bool) -> Array:
    """`value` as a C-contiguous array of datatype `dtype`; without a copy where it is one already.

    With `exact` another dtype is an error; without, it is converted where that is sound (float64 to
    FP32; integers that fit). Raises `InvalidInput`.
    """
    wanted = NUMPY_DTYPES[dtype]
    array = _view(value, tensor, wanted)
    if array.dtype != wanted:
        if exact:
            raise wrong(tensor, f"datatype {dtype}", dtype_name(array))
        array = _convert(array, tensor, wanted)
    if not array.flags.c_contiguous:
        array = np.ascontiguousarray(array)
    return array


def check_shape(array: Array, tensor: str, shape: tuple[int, ...]) -> None:
    """Raises `InvalidInput` unless the array's shape fits, -1 in `shape` fitting anything."""
    fits = array.ndim == len(shape) and all(
        want in (-1, have) for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise wrong(tensor, f"shape {list(shape)}", str(list(array.shape)))


def check_finite(array: Array, tensor: str) -> None:
    """Raises `InvalidInput` naming the first NaN or infinity of a floating-point array."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    flat = int(np.flatnonzero(~np.isfinite(array))[0])
    index = [int(part) for part in np.unravel_index(flat, array.shape)]
    raise wrong(tensor, "finite numbers", f"{float(array.flat[flat])} at {index}")
