"""The bodies of management requests of the Open Inference Protocol's extensions."""

from __future__ import annotations

from typing import Any

from pelton.codec._checks import Where, check_body_size, read_integer, read_map, read_text
from pelton.codec._json import parse_json
from pelton.codec.types import DecodeLimits
from pelton.errors import Unimplemented

__all__ = ["decode_index", "decode_load", "decode_region", "decode_unload"]

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


def _members(body: bytes | memoryview, limits: DecodeLimits) -> dict[str, Any]:
    """Of a document that need not be there."""
    check_body_size(len(body), limits)
    if not bytes(body).strip():
        return {}
    return read_map(parse_json(bytes(body), limits).value, Where(""))


def _boolean(members: dict[str, Any], name: str, where: Where) -> bool:
    value = members.get(name, False)
    if not isinstance(value, bool):
        raise where.at(name).bad("true or false", repr(value)[:40])
    return value


def decode_index(body: bytes | memoryview, limits: DecodeLimits) -> bool:
    """Whether only what is ready is asked for: `{"ready"?: bool}` or nothing. Raises InvalidInput
    and PayloadTooLarge."""
    return _boolean(_members(body, limits), "ready", Where(""))


def decode_load(body: bytes | memoryview, limits: DecodeLimits) -> None:
    """`{"parameters"?: {}}` or nothing. Raises Unimplemented for the parameters that bring another
    configuration or files, InvalidInput and PayloadTooLarge."""
    parameters = read_map(_members(body, limits).get("parameters", {}), Where("parameters"))
    for name in parameters:
        if name == "config" or name.startswith("file:"):
            raise Unimplemented(
                f"parameters.{name[:64]}: models are loaded as they lie in the repository",
                field=f"parameters.{name[:64]}",
            )


def decode_unload(body: bytes | memoryview, limits: DecodeLimits) -> bool:
    """Whether models that this one is made of are to be unloaded, too:
    `{"parameters"?: {"unload_dependents"?: bool}}` or nothing. Raises InvalidInput and
    PayloadTooLarge."""
    where = Where("parameters")
    parameters = read_map(_members(body, limits).get("parameters", {}), where)
    return _boolean(parameters, "unload_dependents", where)
