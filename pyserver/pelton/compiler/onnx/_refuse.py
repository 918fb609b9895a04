"""The one shape of every refusal: file, node or value, what was expected, what came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pelton.errors import UnsupportedModel

__all__ = ["node_name", "quote", "refusal", "text"]

_SHOWN: int = 80


def text(value: str | bytes) -> str:
    """A string of a message: protobuf gives bytes where they are no UTF-8 (UnicodeDecodeError)."""
    return value if isinstance(value, str) else value.decode()


def quote(name: object) -> str:
    """A name from a file, bounded, as it may be shown."""
    shown = str(name)
    return repr(shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…")


def node_name(op: str, name: str, index: int, graph: str = "") -> str:
    """How errors call a node: `node 3 'conv1' (Conv)`."""
    shown = f" {quote(name)}" if name else ""
    inside = f" of subgraph {quote(graph)}" if graph else ""
    return f"node {index}{shown} ({op[:_SHOWN]}){inside}"


def refusal(
    where: object, reason: str, *, expected: str, got: object, at: Sequence[str] | str = ""
) -> UnsupportedModel:
    """`where: at: reason: expected …, got …`; `at` names the node or value."""
    place = at if isinstance(at, str) else ": ".join(at)
    shown: Any = str(got)[:200]
    start = ": ".join(part for part in (str(where), place, reason) if part)
    return UnsupportedModel(
        f"{start}: expected {expected}, got {shown}",
        field=place or None,
        expected=expected,
        got=shown,
    )
