"""Constant nodes become initializers: one place for weights."""

from __future__ import annotations

import numpy as np

from pelton.compiler.onnx.graph import Graph, Node
from pelton.compiler.onnx.passes._rewrite import Context
from pelton.compiler.onnx.tensors import Tensor

__all__ = ["constants_to_initializers"]


def constants_to_initializers(graph: Graph, _context: Context) -> Graph:
    """The graph without Constant nodes whose value is a tensor, a number, a string or a list."""
    found = {
        node.outputs[0]: value
        for node in graph.nodes
        if node.op == "Constant" and not node.domain and (value := _value(node)) is not None
    }
    if not found:
        return graph
    nodes = tuple(node for node in graph.nodes if node.outputs[0] not in found)
    return graph.replace(nodes=nodes, initializers={**graph.initializers, **found})


def _value(node: Node) -> Tensor | None:
    if len(node.attributes) != 1:
        return None
    ((name, value),) = node.attributes.items()
    if isinstance(value, Tensor):
        return value
    if name in {"value_float", "value_floats"}:
        return Tensor.of(np.array(value, np.float32))
    if name in {"value_int", "value_ints"}:
        return Tensor.of(np.array(value, np.int64))
    if name == "value_string":
        return Tensor("BYTES", (), (value,))
    if name == "value_strings":
        return Tensor("BYTES", (len(value),), tuple(value))
    return None
