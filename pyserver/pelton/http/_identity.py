"""Request ids: the caller's own where it is fit to be logged, else a new UUID."""

from __future__ import annotations

import os
import re
import time
from typing import Final

__all__ = ["new_request_id", "request_id_of"]

_VISIBLE: Final = re.compile(r"[!-~]{1,128}\Z")


def new_request_id() -> str:
    """A UUID of version 7 (RFC 9562, section 5.7): milliseconds since the epoch, then random."""
    random = os.urandom(10)
    bits = int(time.time() * 1000) << 80 | int.from_bytes(random)
    bits = bits & ~(0xF << 76) | 0x7 << 76
    bits = bits & ~(0x3 << 62) | 0x2 << 62
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def request_id_of(header: str | None) -> str:
    """The value of X-Request-Id, if it is up to 128 visible ASCII characters, else a new id."""
    if header is not None and _VISIBLE.match(header):
        return header
    return new_request_id()
