"""Nodes that hand their input on unchanged go: Identity, Dropout, and casts, transposes, pads,
concatenations and reshapes of no effect. Two transposes in a row become one."""

from __future__ import annotations

import dataclasses
from typing import Final

from pelton.compiler.onnx._known import whole
from pelton.compiler.onnx.dtypes import BY_NAME
from pelton.compiler.onnx.graph import Graph, Node
from pelton.compiler.onnx.passes._rewrite import Context, with_names

__all__ = ["remove_identities"]

_SAME_SHAPE: Final = frozenset({"Reshape", "Expand", "Squeeze", "Unsqueeze", "Flatten"})


def remove_identities(graph: Graph, context: Context) -> Graph:
    """The graph without nodes of no effect. Outputs of the graph keep their names, so a node
    between an input or a second output and an output stays."""
    graph = _join_transposes(graph)
    outputs = {value.name for value in graph.outputs}
    producers = graph.producers
    names: dict[str, str] = {}
    moved: dict[str, str] = {}
    for node in graph.nodes:
        if not _passes_on(node, context):
            continue
        source, target = node.inputs[0], node.outputs[0]
        source = names.get(source, source)
        if target not in outputs:
            names[target] = source
        elif source in producers and source not in outputs and source not in moved:
            moved[source] = target
    if not names and not moved:
        return graph
    gone = names.keys() | set(moved.values())
    kept = [node for node in graph.nodes if not _is_gone(node, gone, context)]
    nodes = tuple(
        node.replace(outputs=tuple(moved.get(name, name) for name in node.outputs))
        if any(name in moved for name in node.outputs)
        else node
        for node in kept
    )
    return with_names(graph.replace(nodes=nodes), {**names, **moved})


def _is_gone(node: Node, gone: set[str], context: Context) -> bool:
    return node.outputs[0] in gone and _passes_on(node, context)


def _passes_on(node: Node, context: Context) -> bool:
    if node.domain or not node.inputs or not node.inputs[0]:
        return False
    if any(node.outputs[1:]) or not node.outputs[0]:
        return False
    found = context.found
    if node.op == "Identity":
        return True
    if node.op == "Dropout":
        training = found.known.get(node.inputs[2]) if len(node.inputs) > 2 else None
        absent = len(node.inputs) < 3 or not node.inputs[2]
        return absent or (training is not None and not training.flat[0])
    if node.op == "Cast":
        dtype = found.dtype(node.inputs[0])
        return dtype is not None and BY_NAME[dtype].code == node.attributes.get("to")
    if node.op == "Transpose":
        perm = node.attributes.get("perm")
        return perm is not None and list(perm) == sorted(perm)
    if node.op == "Concat":
        return len(node.inputs) == 1
    if node.op == "Pad":
        pads = node.attributes.get("pads")
        if pads is None and len(node.inputs) > 1:
            pads = whole(found.known.get(node.inputs[1]))
        return pads is not None and not any(pads)
    if node.op in _SAME_SHAPE:
        shape = found.shape(node.inputs[0])
        return shape is not None and shape == found.shape(node.outputs[0])
    return False


def _join_transposes(graph: Graph) -> Graph:
    producers = graph.producers
    nodes = []
    for node in graph.nodes:
        before = producers.get(node.inputs[0]) if node.inputs else None
        if _is_transpose(node) and before is not None and _is_transpose(before):
            first, second = before.attributes["perm"], node.attributes["perm"]
            if len(first) == len(second):
                perm = tuple(first[axis] for axis in second)
                attributes = {**node.attributes, "perm": perm}
                node = dataclasses.replace(node, inputs=before.inputs, attributes=attributes)
        nodes.append(node)
    if all(a is b for a, b in zip(nodes, graph.nodes, strict=True)):
        return graph
    return graph.replace(nodes=tuple(nodes))


def _is_transpose(node: Node) -> bool:
    return node.op == "Transpose" and not node.domain and "perm" in node.attributes
