"""Nodes whose output nobody reads, and weights that no node reads, are dropped.

Inputs stay: they are the model's contract.
"""

from __future__ import annotations

from types import MappingProxyType

from pelton.compiler.ir import Graph, Node, Role

__all__ = ["remove_dead_code"]


def remove_dead_code(graph: Graph) -> Graph:
    """What no output depends on is gone."""
    needed = {tensor.name for tensor in graph.outputs}
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        if node.output in needed:
            nodes.append(node)
            needed.update(node.reads())
    tensors = {
        name: tensor
        for name, tensor in graph.tensors.items()
        if name in needed or tensor.role is Role.INPUT
    }
    return Graph(graph.name, MappingProxyType(tensors), tuple(reversed(nodes)))
