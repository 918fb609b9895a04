"""What the native module knows about this machine, and its hash."""

from __future__ import annotations

from pelton import _native
from pelton.bridge._status import native_errors

__all__ = ["cpu_features", "kernel_variants", "xxh64"]


def xxh64(data: bytes, seed: int = 0) -> int:
    """The 64-bit XXH64 of `data`, as plan files use it."""
    return _native.xxh64(data, seed)


def cpu_features() -> dict[str, bool]:
    """The instruction sets the engine asks about, and whether this CPU and kernel offer them."""
    return _native.cpu_features()


def kernel_variants() -> dict[str, str]:
    """The variant that each kernel runs with here. Raises `Error` where `PELTON_ISA` forces one
    that this CPU lacks."""
    with native_errors():
        return _native.kernel_variants()
