"""The bodies of management requests of the Open Inference Protocol's extensions."""

from __future__ import annotations

from pelton.codec._checks import Where, check_body_size, read_integer, read_map, read_text
from pelton.codec._json import parse_json
from pelton.codec.types import DecodeLimits

__all__ = ["decode_region"]

_INT64_MAX = 2**63 - 1


def decode_region(body: bytes | memoryview, limits: DecodeLimits) -> tuple[str, int, int]:
    """Key, offset and bytes of a region to be registered: `{"key", "offset"?, "byte_size"}`.
    Raises InvalidInput and PayloadTooLarge."""
    check_body_size(len(body), limits)
    members = read_map(parse_json(bytes(body), limits).value, Where(""))
    key = read_text(members.get("key"), Where("key"), limits.name_bytes_max)
    byte_size = read_integer(members.get("byte_size"), Where("byte_size"), 1, _INT64_MAX)
    offset = read_integer(members.get("offset", 0), Where("offset"), 0, _INT64_MAX - byte_size)
    return key, offset, byte_size
