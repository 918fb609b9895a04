"""A model as the compiler sees it: graphs of nodes over named values, all immutable.

Names are unique in the whole model: a subgraph (body of If, Loop, Scan) may use the values of the
graphs around it by name, and no graph defines a name that another one has. Nodes are in an order in
which every value is defined before it is used. An absent optional input or output is ``""``.

Attributes are plain values: int, float, bytes, tuples of them, `Tensor`, `Graph`, `AttributeRef`
(in functions), or tuples of tensors and graphs. Element types are named as in `dtypes`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeAlias

from pelton.compiler.onnx.dims import Dim
from pelton.compiler.onnx.tensors import Tensor

__all__ = [
    "STANDARD",
    "AttributeRef",
    "Function",
    "FunctionId",
    "Graph",
    "Node",
    "OnnxModel",
    "OtherType",
    "Shape",
    "TensorType",
    "Type",
    "Value",
]

#: The domain of ONNX's own ops; the alias "ai.onnx" is read as it.
STANDARD: Final = ""

Shape: TypeAlias = tuple[Dim, ...]
FunctionId: TypeAlias = tuple[str, str, str]
"""Domain, name and overload of a function."""


@dataclass(frozen=True, slots=True)
class TensorType:
    """A tensor's element type and shape; the shape is None where not even the rank is known."""

    dtype: str
    shape: Shape | None


@dataclass(frozen=True, slots=True)
class OtherType:
    """A sequence, optional, map, sparse tensor or opaque value; `proto` is its serialized type."""

    kind: str
    proto: bytes


Type: TypeAlias = TensorType | OtherType


@dataclass(frozen=True, slots=True)
class Value:
    """A named value; its type is None while nothing is known of it."""

    name: str
    type: Type | None = None

    @property
    def dtype(self) -> str | None:
        return self.type.dtype if isinstance(self.type, TensorType) else None

    @property
    def shape(self) -> Shape | None:
        return self.type.shape if isinstance(self.type, TensorType) else None


@dataclass(frozen=True, slots=True)
class AttributeRef:
    """Within a function: the value of the caller's attribute `name`. `kind` is ONNX's code."""

    name: str
    kind: int


@dataclass(frozen=True, eq=False)
class Node:
    """One call of an op. `since_version` is 0 for ops without a schema in the onnx package."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    domain: str = STANDARD
    name: str = ""
    since_version: int = 0
    overload: str = ""

    @cached_property
    def subgraphs(self) -> tuple[Graph, ...]:
        """The graphs among its attributes."""
        found: list[Graph] = []
        for value in self.attributes.values():
            if isinstance(value, Graph):
                found.append(value)
            elif isinstance(value, tuple):
                found.extend(item for item in value if isinstance(item, Graph))
        return tuple(found)

    @cached_property
    def uses(self) -> tuple[str, ...]:
        """The names that it reads: its inputs, and what its subgraphs take from around them."""
        inner = (name for graph in self.subgraphs for name in graph.captures)
        return tuple(dict.fromkeys((*(name for name in self.inputs if name), *inner)))

    @property
    def identity(self) -> FunctionId:
        return (self.domain, self.op, self.overload)

    def replace(self, **changes: Any) -> Node:
        """A copy with some members changed."""
        return dataclasses.replace(self, **changes)

    def __str__(self) -> str:
        op = f"{self.domain}.{self.op}" if self.domain else self.op
        return f"{op} node {self.name or '->' + ','.join(self.outputs)!r}"


@dataclass(frozen=True, eq=False)
class Graph:
    """Inputs, outputs, nodes in order, constants, and what is known of the values in between."""

    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    initializers: Mapping[str, Tensor] = field(default_factory=dict)
    values: Mapping[str, Value] = field(default_factory=dict)
    """Types declared or inferred of node outputs, those of subgraphs not included."""

    @cached_property
    def captures(self) -> tuple[str, ...]:
        """The names that it takes from the graphs around it."""
        own = {value.name for value in self.inputs} | set(self.initializers)
        for node in self.nodes:
            own.update(node.outputs)
        used = dict.fromkeys(name for node in self.nodes for name in node.uses)
        used.update(dict.fromkeys(value.name for value in self.outputs))
        return tuple(name for name in used if name not in own)

    @cached_property
    def producers(self) -> Mapping[str, Node]:
        """The node that defines each value."""
        return {name: node for node in self.nodes for name in node.outputs if name}

    def replace(self, **changes: Any) -> Graph:
        """A copy with some members changed."""
        return dataclasses.replace(self, **changes)

    def walk(self) -> Iterator[Graph]:
        """This graph and every one inside it."""
        yield self
        for node in self.nodes:
            for inner in node.subgraphs:
                yield from inner.walk()


@dataclass(frozen=True, eq=False)
class Function:
    """A function of the model: an op with a body. `defaults` are its attributes with a value."""

    identity: FunctionId
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[str, ...]
    defaults: Mapping[str, Any]
    nodes: tuple[Node, ...]
    opsets: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A checked model. `functions` are those of the file, by domain, name and overload."""

    path: Path
    graph: Graph
    ir_version: int
    opsets: Mapping[str, int]
    functions: Mapping[FunctionId, Function] = field(default_factory=dict)
    producer: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    def replace(self, **changes: Any) -> OnnxModel:
        """A copy with some members changed."""
        return dataclasses.replace(self, **changes)
