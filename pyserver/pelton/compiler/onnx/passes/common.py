"""Equal nodes over equal inputs become one; so do small equal constants."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

from pelton.compiler.onnx.graph import Graph, Node, OtherType
from pelton.compiler.onnx.passes._rewrite import Context, with_names
from pelton.compiler.onnx.tensors import Tensor

__all__ = ["merge_common"]

#: Larger constants are not compared: their bytes may not even be in memory.
_BYTES_MAX: Final = 1024
_RANDOM: Final = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
    | {"Bernoulli", "Multinomial", "Dropout"}
)


def merge_common(graph: Graph, context: Context) -> Graph:
    """The graph in which each value is computed once. Outputs of the graph keep their names."""
    outputs = {value.name for value in graph.outputs}
    names: dict[str, str] = {}
    seen: dict[Hashable, tuple[str, ...]] = {}
    for name, tensor in graph.initializers.items():
        key = _tensor_key(tensor)
        if key is not None and name not in outputs:
            first = seen.setdefault(("tensor", key), (name,))
            if first[0] != name:
                names[name] = first[0]
    for node in graph.nodes:
        key = None if outputs.intersection(node.outputs) else _node_key(node, names, context)
        if key is None:
            continue
        first = seen.setdefault(key, node.outputs)
        if first is not node.outputs and len(first) == len(node.outputs):
            names.update(zip(node.outputs, first, strict=True))
    names.pop("", None)
    return with_names(graph, names)


def _node_key(node: Node, names: dict[str, str], context: Context) -> Hashable:
    random = node.op in _RANDOM or node.identity in context.model.functions
    if random or node.subgraphs or not node.since_version:
        return None
    attributes = []
    for name, value in sorted(node.attributes.items()):
        key = _attribute_key(value)
        if key is None:
            return None
        attributes.append((name, key))
    inputs = tuple(names.get(name, name) for name in node.inputs)
    present = tuple(bool(name) for name in node.outputs)
    return (node.identity, inputs, tuple(attributes), present)


def _attribute_key(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        return _tensor_key(value)
    if isinstance(value, OtherType):
        return ("type", value.proto)
    if isinstance(value, (int, float, bytes)):
        # 1, 1.0 and nan: equality of numbers is not that of attributes.
        return (type(value).__name__, repr(value))
    if isinstance(value, tuple):
        keys = tuple(_attribute_key(item) for item in value)
        return None if None in keys else ("list", *keys)
    return None


def _tensor_key(tensor: Tensor) -> Hashable:
    if isinstance(tensor.data, tuple):
        return None if tensor.nbytes > _BYTES_MAX else (tensor.dtype, tensor.shape, tensor.data)
    if tensor.nbytes > _BYTES_MAX:
        return None
    return (tensor.dtype, tensor.shape, bytes(tensor.raw))
