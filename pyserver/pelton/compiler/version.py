"""The compiler's version: part of every cached plan's key and of every plan's metadata."""

from __future__ import annotations

from typing import Final

__all__ = ["COMPILER_VERSION"]

#: To be raised with every change that makes the same model folder give other bytes; a test holds
#: the digest of what this version makes.
COMPILER_VERSION: Final = 1
