"""What the installed onnx package says of ops: versions, arity, attributes, bodies."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from pelton.compiler.onnx.graph import STANDARD

__all__ = ["STANDARD_DOMAINS", "attribute_kinds", "opset_versions", "schema_of"]

#: Domains whose ops the onnx package defines.
STANDARD_DOMAINS: Final = frozenset({STANDARD, "ai.onnx.ml"})


@cache
def schema_of(op: str, domain: str, opset: int) -> Any:
    """The OpSchema of an op as of an opset; None where the package has none."""
    from onnx import defs

    if domain not in STANDARD_DOMAINS:
        return None
    try:
        return defs.get_schema(op, opset, domain)
    except defs.SchemaError:
        return None


@cache
def opset_versions() -> dict[str, int]:
    """The newest opset of each domain that the package defines."""
    from onnx import defs

    newest: dict[str, int] = {STANDARD: int(defs.onnx_opset_version())}
    for schema in defs.get_all_schemas():
        newest[schema.domain] = max(newest.get(schema.domain, 0), schema.since_version)
    return newest


@cache
def attribute_kinds(op: str, domain: str, opset: int) -> dict[str, tuple[int, bool]]:
    """ONNX's code of the kind of each attribute, and whether it must be given."""
    schema = schema_of(op, domain, opset)
    return {
        name: (int(attribute.type.value), bool(attribute.required))
        for name, attribute in schema.attributes.items()
    }
