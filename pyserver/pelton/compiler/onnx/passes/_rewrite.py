"""What passes share: the context they work in, and changes of names throughout nested graphs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from pelton.compiler.onnx.graph import Graph, Node, OnnxModel, Value
from pelton.compiler.onnx.shapes import Inference

__all__ = ["Context", "Pass", "each_graph", "map_graphs", "with_names"]


@dataclass
class Context:
    """The model that is being changed, what is known of its values, and which ops to keep."""

    model: OnnxModel
    found: Inference
    keep: Collection[str] | None = None
    taken: set[str] = field(default_factory=set)

    def unique(self, name: str) -> str:
        """A name that no value of the model has."""
        result, number = name, 1
        while result in self.taken:
            result, number = f"{name}#{number}", number + 1
        self.taken.add(result)
        return result


Pass = Callable[[Graph, Context], Graph]


def map_graphs(node: Node, change: Callable[[Graph], Graph]) -> Node:
    """The node with each of its subgraphs changed; itself where none is."""
    if not node.subgraphs:
        return node
    attributes: dict[str, Any] = {}
    for name, value in node.attributes.items():
        if isinstance(value, Graph):
            attributes[name] = change(value)
        elif isinstance(value, tuple) and value and isinstance(value[0], Graph):
            attributes[name] = tuple(change(graph) for graph in value)
        else:
            attributes[name] = value
    same = all(attributes[name] is value for name, value in node.attributes.items())
    return node if same else node.replace(attributes=attributes)


def each_graph(graph: Graph, change: Callable[[Graph], Graph]) -> Graph:
    """Applies a change to the innermost graphs first, to the outermost last."""
    nodes = tuple(map_graphs(node, lambda inner: each_graph(inner, change)) for node in graph.nodes)
    if any(a is not b for a, b in zip(nodes, graph.nodes, strict=True)):
        graph = graph.replace(nodes=nodes)
    return change(graph)


def with_names(graph: Graph, names: Mapping[str, str]) -> Graph:
    """The graph with uses of its values turned to others; definitions and its outputs stay."""
    if not names:
        return graph
    targets = {name: _final(name, names) for name in names}
    return graph.replace(nodes=tuple(_renamed(node, targets) for node in graph.nodes))


def _final(name: str, names: Mapping[str, str]) -> str:
    while name in names:
        name = names[name]
    return name


def _renamed(node: Node, names: Mapping[str, str]) -> Node:
    if not any(name in names for name in node.uses):
        return node
    node = map_graphs(node, lambda graph: _inside(graph, names))
    return node.replace(inputs=tuple(names.get(name, name) for name in node.inputs))


def _inside(graph: Graph, names: Mapping[str, str]) -> Graph:
    nodes = tuple(_renamed(node, names) for node in graph.nodes)
    # A branch may hand a value from around it on as it is.
    outputs = tuple(Value(names.get(v.name, v.name), v.type) for v in graph.outputs)
    return graph.replace(nodes=nodes, outputs=outputs)
