"""Status codes of the engine as errors of the tree. The numbers are those of csrc/base/status.h."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from pelton import _native
from pelton.errors import (
    Cancelled,
    CorruptPlan,
    DeadlineExceeded,
    Error,
    Internal,
    InvalidInput,
    ModelNotFound,
    OutOfMemory,
    QueueFull,
    Unavailable,
    UnsupportedPlan,
)

__all__ = ["OK", "error_of", "native_errors"]

OK: Final = 0
_LEAVES: Final[dict[int, Callable[[str], Error]]] = {
    1: InvalidInput,
    2: ModelNotFound,
    3: QueueFull,
    4: DeadlineExceeded,
    5: Cancelled,
    6: Unavailable,
    7: CorruptPlan,
    8: UnsupportedPlan,
    9: OutOfMemory,
    10: Internal,
}


def error_of(code: int, message: str) -> Error:
    """The error for a status that is not ok; an unknown code is a defect, so `Internal`."""
    leaf = _LEAVES.get(code)
    return leaf(message) if leaf else Internal(f"engine status {code}: {message}")


@contextmanager
def native_errors() -> Iterator[None]:
    """Re-raises what native code raises as an error of the tree."""
    try:
        yield
    except _native.NativeError as error:
        raise error_of(error.code, str(error)) from None
