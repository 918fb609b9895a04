"""What no output needs goes: nodes, initializers, and names of outputs that nobody uses."""

from __future__ import annotations

from pelton.compiler.onnx.graph import Graph
from pelton.compiler.onnx.passes._rewrite import Context

__all__ = ["remove_dead_code"]


def remove_dead_code(graph: Graph, _context: Context) -> Graph:
    """The graph with only what its outputs need. Inputs stay: they are the model's contract."""
    needed = {value.name for value in graph.outputs}
    kept = []
    for node in reversed(graph.nodes):
        if any(name in needed for name in node.outputs):
            needed.update(node.uses)
            kept.append(node)
    initializers = {name: value for name, value in graph.initializers.items() if name in needed}
    if len(kept) == len(graph.nodes) and len(initializers) == len(graph.initializers):
        return graph
    return graph.replace(nodes=tuple(reversed(kept)), initializers=initializers)
