"""A graph's values in float64, node by node: proof that the compiler's graphs say what they should,
without the engine. Ragged graphs are run on a batch of sequences, as the engine does it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pelton.compiler.ir import Activation, Binary, Graph, Node, Pooling

Array = npt.NDArray[Any]


def _erf(x: Array) -> Array:
    return np.array([math.erf(v) for v in x.ravel()]).reshape(x.shape)


ACTIVATIONS: Mapping[Activation, Callable[[Array], Array]] = {
    Activation.NONE: lambda x: x,
    Activation.RELU: lambda x: np.where(x > 0, x, 0.0),
    Activation.GELU_ERF: lambda x: x * (1 + _erf(x / np.sqrt(2))) / 2,
    Activation.GELU_TANH: lambda x: (
        x * (1 + np.tanh(np.sqrt(2 / np.pi) * x * (1 + 0.044715 * x * x))) / 2
    ),
    Activation.TANH: np.tanh,
    Activation.SIGMOID: lambda x: 1 / (1 + np.exp(-x)),
    Activation.SILU: lambda x: x / (1 + np.exp(-x)),
}
BINARIES: Mapping[Binary, Callable[[Array, Array], Array]] = {
    Binary.ADD: np.add,
    Binary.SUBTRACT: np.subtract,
    Binary.MULTIPLY: np.multiply,
    Binary.DIVIDE: np.divide,
}


class Interpreter:
    """Runs one batch; `lengths` are those of a ragged batch."""

    def __init__(self, graph: Graph, inputs: Mapping[str, Array], lengths: Sequence[int]) -> None:
        self.graph = graph
        self.bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(int)
        self.values: dict[str, Array] = dict(inputs)
        for tensor in graph.tensors.values():
            if tensor.data is not None:
                self.values[tensor.name] = tensor.data.astype(np.float64)

    def run(self) -> dict[str, Array]:
        for node in self.graph.nodes:
            self.values[node.output] = self.step(node)
        return {tensor.name: self.values[tensor.name] for tensor in self.graph.outputs}

    def step(self, node: Node) -> Array:
        operands = [None if name is None else self.values[name] for name in node.inputs]
        result: Array = getattr(self, node.op.name.lower())(node, *operands)
        return result

    def sequences(self, x: Array) -> list[Array]:
        bounds = zip(self.bounds[:-1], self.bounds[1:], strict=True)
        return [x[begin:end] for begin, end in bounds]

    def embedding(
        self,
        node: Node,
        ids: Array,
        words: Array,
        positions: Array | None,
        types: Array | None,
        type_ids: Array | None,
    ) -> Array:
        x = words[ids]
        if positions is not None:
            first = int(node.attributes["first"])
            parts = [np.arange(len(s)) + first for s in self.sequences(ids)]
            x = x + positions[np.concatenate(parts)]
        if types is not None:
            x = x + types[np.zeros_like(ids) if type_ids is None else type_ids]
        return x

    def layer_norm(self, node: Node, x: Array, gamma: Array, beta: Array) -> Array:
        variance = x.var(axis=-1, keepdims=True)
        scaled = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(
            variance + node.attributes["epsilon"]
        )
        result: Array = scaled * gamma + beta
        return result

    def gemm(
        self, node: Node, x: Array, weight: Array, bias: Array | None, residual: Array | None
    ) -> Array:
        y = x @ weight + (0 if bias is None else bias)
        y = ACTIVATIONS[Activation(int(node.attributes["activation"]))](y)
        result: Array = y if residual is None else y + residual
        return result

    def attention(self, node: Node, q: Array, k: Array | None, v: Array | None) -> Array:
        if k is None or v is None:
            q, k, v = np.split(q, 3, axis=1)
        heads = int(node.attributes["heads"])
        rows = []
        for parts in zip(self.sequences(q), self.sequences(k), self.sequences(v), strict=True):
            query, key, value = (p.reshape(len(p), heads, -1).transpose(1, 0, 2) for p in parts)
            scores = query @ key.transpose(0, 2, 1) * node.attributes["scale"]
            powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
            context = powers / powers.sum(axis=-1, keepdims=True) @ value
            rows.append(context.transpose(1, 0, 2).reshape(len(parts[0]), -1))
        return np.concatenate(rows)

    def pool(self, node: Node, x: Array) -> Array:
        pooling = Pooling(int(node.attributes["pooling"]))
        rows: Mapping[Pooling, Callable[[Array], Array]] = {
            Pooling.CLS: lambda s: s[0],
            Pooling.MEAN: lambda s: s.mean(axis=0),
            Pooling.MAX: lambda s: s.max(axis=0),
            Pooling.MEAN_SQRT_LENGTH: lambda s: s.sum(axis=0) / np.sqrt(len(s)),
        }
        return np.stack([rows[pooling](s) for s in self.sequences(x)])

    def l2_normalize(self, node: Node, x: Array) -> Array:
        norms = np.linalg.norm(x, axis=-1, keepdims=True)
        result: Array = x / np.maximum(norms, node.attributes["smallest"])
        return result

    def activation(self, node: Node, x: Array) -> Array:
        result: Array = ACTIVATIONS[Activation(int(node.attributes["activation"]))](x)
        return result

    def binary(self, node: Node, a: Array, b: Array) -> Array:
        if b.ndim == 1 and b.size > 1:
            b = b.reshape(a.shape[1:])
        result: Array = BINARIES[Binary(int(node.attributes["operation"]))](a, b)
        return result


def interpret(
    graph: Graph, inputs: Mapping[str, Array], lengths: Sequence[int] = ()
) -> dict[str, Array]:
    """The graph's outputs in float64."""
    return Interpreter(graph, inputs, lengths).run()
