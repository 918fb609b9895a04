"""The compiler's graph: tensors by name, nodes in the order in which they run.

An op here is an op of the plan (`csrc/plan/format.h`), but for `ATTENTION`, which may still take
q, k and v apart, and for weights of `GEMM`, which stay row-major [K, N] until the plan writer packs
them. Graphs are immutable; a pass returns a new one. `GraphBuilder` checks shapes as it goes:

    builder = GraphBuilder("mlp")
    x = builder.input("x", (ROWS, 512))
    hidden = builder.activation(builder.gemm(x, weight, bias), Activation.RELU)
    builder.output("y", builder.gemm(hidden, weight2))
    graph = builder.build()
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pelton.compiler.attributes import Activation, Binary, Pooling

__all__ = [
    "OPS",
    "ROWS",
    "TOKENS",
    "Activation",
    "Binary",
    "Dims",
    "Graph",
    "GraphBuilder",
    "Node",
    "Op",
    "OpSpec",
    "Pooling",
    "Role",
    "Tensor",
]

#: First dimension: one per row of the batch, or one per token of a ragged batch.
ROWS: Final = -1
TOKENS: Final = -2

Dims = tuple[int, ...]
Float32 = npt.NDArray[np.float32]


class Role(IntEnum):
    """What a tensor is; the plan's numbers."""

    INTERMEDIATE = 0
    INPUT = 1
    OUTPUT = 2
    WEIGHT = 3


class Op(IntEnum):
    """What a node computes; the plan's numbers."""

    EMBEDDING = 1
    LAYER_NORM = 2
    GEMM = 3
    ATTENTION = 4
    POOL = 5
    L2_NORMALIZE = 6
    ACTIVATION = 7
    BINARY = 8


@dataclass(frozen=True, slots=True)
class OpSpec:
    """Names of an op's operands and attributes, in the plan's order."""

    inputs: tuple[str, ...]
    ints: tuple[str, ...] = ()
    floats: tuple[str, ...] = ()


OPS: Final[Mapping[Op, OpSpec]] = MappingProxyType(
    {
        Op.EMBEDDING: OpSpec(("ids", "words", "positions", "types", "type_ids"), ("first",)),
        Op.LAYER_NORM: OpSpec(("x", "gamma", "beta"), (), ("epsilon",)),
        Op.GEMM: OpSpec(("x", "weight", "bias", "residual"), ("activation",)),
        # In a plan qkv alone; before `merge_qkv` the three of them.
        Op.ATTENTION: OpSpec(("qkv", "k", "v"), ("heads",), ("scale",)),
        Op.POOL: OpSpec(("x",), ("pooling",)),
        Op.L2_NORMALIZE: OpSpec(("x",), (), ("smallest",)),
        Op.ACTIVATION: OpSpec(("x",), ("activation",)),
        Op.BINARY: OpSpec(("a", "b"), ("operation",)),
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A tensor of the graph. `data` is there for weights and only for them."""

    name: str
    role: Role
    dtype: str
    dims: Dims
    data: npt.NDArray[Any] | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One op. `inputs` has an entry per operand of `OPS[op]`, None where it is absent."""

    op: Op
    inputs: tuple[str | None, ...]
    output: str
    attributes: Mapping[str, float] = field(default_factory=dict)

    def operand(self, name: str) -> str | None:
        return self.inputs[OPS[self.op].inputs.index(name)]

    def reads(self) -> Iterator[str]:
        return (name for name in self.inputs if name is not None)

    def with_operands(self, **operands: str | None) -> Node:
        """The node with the named operands replaced."""
        names = OPS[self.op].inputs
        return replace(
            self,
            inputs=tuple(operands.get(n, old) for n, old in zip(names, self.inputs, strict=True)),
        )

    def with_attributes(self, **attributes: float) -> Node:
        return replace(self, attributes={**self.attributes, **attributes})


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Tensors by name, in the order in which they were made, and nodes in execution order."""

    name: str
    tensors: Mapping[str, Tensor]
    nodes: tuple[Node, ...]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._of(Role.INPUT)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return self._of(Role.OUTPUT)

    @property
    def ragged(self) -> bool:
        return any(t.dims[0] == TOKENS for t in self.tensors.values())

    def _of(self, role: Role) -> tuple[Tensor, ...]:
        return tuple(t for t in self.tensors.values() if t.role is role)


class GraphBuilder:
    """Makes a `Graph` node by node. Every method that adds a node returns its output's name, and
    raises `ValueError` where operands do not fit together. Not thread-safe."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tensors: dict[str, Tensor] = {}
        self._nodes: list[Node] = []
        self._output_names: dict[str, str] = {}
        self._labels: dict[str, str] = {}

    def input(self, name: str, dims: Sequence[int], dtype: str = "FP32") -> str:
        """An input; `dims[0]` is `ROWS` or `TOKENS`."""
        if not dims or dims[0] not in (ROWS, TOKENS) or any(d < 1 for d in dims[1:]):
            raise ValueError(f"input {name!r}: expected dims (ROWS or TOKENS, sizes…), got {dims}")
        return self._add(Tensor(name, Role.INPUT, dtype, tuple(dims)))

    def weight(self, data: npt.NDArray[Any], name: str | None = None) -> str:
        """A constant, kept as float32 and not copied where it is that already."""
        array = np.asarray(data, dtype=np.float32)
        if array.ndim == 0 or array.size == 0:
            raise ValueError(f"weight {name!r}: expected at least one element and dimension")
        name = name or self._fresh("weight")
        return self._add(Tensor(name, Role.WEIGHT, "FP32", array.shape, array))

    def embedding(
        self,
        ids: str,
        words: str,
        *,
        positions: str | None = None,
        types: str | None = None,
        type_ids: str | None = None,
        first_position: int = 0,
    ) -> str:
        """[tokens, H]: the sum of the rows of the tables."""
        hidden = self._dims(words)[1]
        for table in (positions, types):
            if table is not None and self._dims(table)[1] != hidden:
                raise ValueError(f"embedding: expected tables of {hidden} columns, got {table!r}")
        operands = (ids, words, positions, types, type_ids)
        return self._node(Op.EMBEDDING, operands, (TOKENS, hidden), first=first_position)

    def layer_norm(self, x: str, gamma: str, beta: str, epsilon: float) -> str:
        self._expect(gamma, self._dims(x)[1:])
        self._expect(beta, self._dims(x)[1:])
        return self._node(Op.LAYER_NORM, (x, gamma, beta), self._dims(x), epsilon=epsilon)

    def gemm(
        self,
        x: str,
        weight: str | npt.NDArray[Any],
        bias: str | npt.NDArray[Any] | None = None,
        *,
        activation: Activation = Activation.NONE,
        residual: str | None = None,
    ) -> str:
        """[r, N] = activation(x W + bias) + residual; x [r, K], W [K, N], bias [N]."""
        weight = self._as_weight(weight)
        batch, depth = self._dims(x)
        self._expect(weight, (depth, self._dims(weight)[-1]))
        dims = (batch, self._dims(weight)[1])
        if bias is not None:
            bias = self._as_weight(bias)
            self._expect(bias, dims[1:])
        if residual is not None:
            self._expect(residual, dims)
        operands = (x, weight, bias, residual)
        return self._node(Op.GEMM, operands, dims, activation=activation)

    def activation(self, x: str, activation: Activation) -> str:
        return self._node(Op.ACTIVATION, (x,), self._dims(x), activation=activation)

    def binary(self, a: str, b: str | npt.NDArray[Any] | float, operation: Binary) -> str:
        """a op b: b of a's shape, or a weight of one row's elements or of one, for every row."""
        if not isinstance(b, str):
            b = self.weight(np.atleast_1d(np.asarray(b, dtype=np.float32)))
        dims = self._dims(a)
        if self._tensors[b].role is Role.WEIGHT:
            if self._dims(b) != (1,):
                self._expect(b, (math.prod(dims[1:]),))
        else:
            self._expect(b, dims)
        return self._node(Op.BINARY, (a, b), dims, operation=operation)

    def attention(self, q: str, k: str, v: str, heads: int, scale: float | None = None) -> str:
        """softmax(q k^T * scale) v within each sequence and head; scale defaults to 1/sqrt(d)."""
        dims = self._dims(q)
        self._expect(k, dims)
        self._expect(v, dims)
        if heads < 1 or dims[1] % heads:
            raise ValueError(f"attention: expected heads that divide {dims[1]}, got {heads}")
        if scale is None:
            scale = 1.0 / math.sqrt(dims[1] // heads)
        return self._node(Op.ATTENTION, (q, k, v), dims, heads=heads, scale=scale)

    def pool(self, x: str, pooling: Pooling) -> str:
        return self._node(Op.POOL, (x,), (ROWS, *self._dims(x)[1:]), pooling=pooling)

    def normalize(self, x: str, smallest: float = 1e-12) -> str:
        """Each row divided by the larger of its Euclidean norm and `smallest`."""
        return self._node(Op.L2_NORMALIZE, (x,), self._dims(x), smallest=smallest)

    def label(self, name: str, x: str) -> str:
        """Gives `x`, which a node must have computed, a name to read in the graph. Returns `x`,
        which the builder goes on to be called with."""
        self._rename(name, x, self._labels)
        return x

    def output(self, name: str, x: str) -> None:
        """Makes `x`, which a node must have computed, an output called `name`."""
        self._rename(name, x, self._output_names)

    def build(self) -> Graph:
        """The graph so far; at least one input and one output."""
        names = {**self._labels, **self._output_names}
        tensors = {}
        for tensor in self._tensors.values():
            role = Role.OUTPUT if tensor.name in self._output_names else tensor.role
            name = names.get(tensor.name, tensor.name)
            tensors[name] = replace(tensor, name=name, role=role)
        nodes = tuple(
            replace(
                node,
                inputs=tuple(names.get(i, i) if i is not None else None for i in node.inputs),
                output=names.get(node.output, node.output),
            )
            for node in self._nodes
        )
        graph = Graph(self._name, MappingProxyType(tensors), nodes)
        if not graph.inputs or not graph.outputs:
            raise ValueError(f"graph {self._name!r}: expected at least one input and one output")
        return graph

    def _add(self, tensor: Tensor) -> str:
        if tensor.name in self._tensors or tensor.name in self._labels.values():
            raise ValueError(f"tensor {tensor.name!r}: the name is taken")
        self._tensors[tensor.name] = tensor
        return tensor.name

    def _rename(self, name: str, x: str, names: dict[str, str]) -> None:
        if self._tensors[x].role is not Role.INTERMEDIATE or x in names:
            raise ValueError(f"name {name!r}: expected a computed tensor, once, got {x!r}")
        taken = (self._tensors, self._labels.values(), self._output_names.values())
        if any(name in names_there for names_there in taken):
            raise ValueError(f"name {name!r}: it is taken")
        names[x] = name

    def _as_weight(self, value: str | npt.NDArray[Any]) -> str:
        return value if isinstance(value, str) else self.weight(value)

    def _fresh(self, stem: str) -> str:
        number = len(self._tensors)
        while f"{stem}_{number}" in {*self._tensors, *self._labels.values()}:
            number += 1
        return f"{stem}_{number}"

    def _dims(self, name: str) -> Dims:
        return self._tensors[name].dims

    def _expect(self, name: str, dims: Dims) -> None:
        if self._dims(name) != dims:
            raise ValueError(f"tensor {name!r}: expected dims {dims}, got {self._dims(name)}")

    def _node(
        self, op: Op, operands: tuple[str | None, ...], dims: Dims, **attributes: float
    ) -> str:
        for name in operands:
            if name is not None and name not in self._tensors:
                raise ValueError(f"{op.name.lower()}: there is no tensor {name!r}")
        output = self._add(Tensor(self._fresh(op.name.lower()), Role.INTERMEDIATE, "FP32", dims))
        self._nodes.append(Node(op, operands, output, attributes))
        return output
