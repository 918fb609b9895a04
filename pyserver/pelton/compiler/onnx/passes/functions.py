"""Calls of functions become their bodies: those of the model, and of ops that onnx defines so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pelton.compiler.onnx._functions import read_function
from pelton.compiler.onnx._schemas import schema_of
from pelton.compiler.onnx._values import Values
from pelton.compiler.onnx._wire import slim
from pelton.compiler.onnx.export import to_node_proto, to_type_proto
from pelton.compiler.onnx.graph import AttributeRef, Function, Graph, Node
from pelton.compiler.onnx.passes._rewrite import Context, map_graphs
from pelton.compiler.onnx.tensors import Tensor
from pelton.errors import UnsupportedModel

__all__ = ["inline_functions"]

#: A model of calls within calls may be exponentially larger than its file.
_NODES_MAX: Final = 1_000_000


def inline_functions(graph: Graph, context: Context) -> Graph:
    """The graph with bodies in the place of calls, as far as the model's opsets allow; bodies of
    standard ops only for those that are not to be kept."""
    nodes: list[Node] = []
    changed = False
    for node in graph.nodes:
        function = _function_of(node, context)
        if function is None:
            nodes.append(node)
            continue
        nodes.extend(_body(node, function, context))
        changed = True
        if len(nodes) > _NODES_MAX:
            raise UnsupportedModel(
                f"{context.model.path}: functions: expected at most {_NODES_MAX} nodes when they "
                "are written out, got more"
            )
    return graph.replace(nodes=tuple(nodes)) if changed else graph


def _function_of(node: Node, context: Context) -> Function | None:
    function = context.model.functions.get(node.identity)
    if function is None:
        keep = context.keep
        if keep is None or node.op in keep or not node.since_version:
            return None
        function = _standard(node, context)
    return function if function is not None and _same_ops(function, context) else None


def _same_ops(function: Function, context: Context) -> bool:
    """Whether the body's ops mean the same under the opsets of the model."""
    opsets = context.model.opsets
    for node in function.nodes:
        if node.identity in context.model.functions:
            continue
        if node.domain not in opsets:
            return False
        schema = schema_of(node.op, node.domain, opsets[node.domain])
        if (0 if schema is None else schema.since_version) != node.since_version:
            return False
    return True


def _standard(node: Node, context: Context) -> Function | None:
    import onnx

    opset = context.model.opsets.get(node.domain, 1)
    schema = schema_of(node.op, node.domain, opset)
    if schema.has_function:
        body = schema.get_function_with_opset_version(opset)
    elif schema.has_context_dependent_function:
        kinds = [context.found.types.get(name) for name in node.inputs]
        known = [kind for kind in kinds if kind is not None]
        if len(known) != len(kinds):
            return None
        types = [to_type_proto(kind).SerializeToString() for kind in known]
        call = to_node_proto(node, context.model.opsets).SerializeToString()
        body = schema.get_context_dependent_function_with_opset_version(opset, call, types)
    else:
        return None
    proto = onnx.FunctionProto()
    proto.ParseFromString(body)
    if not proto.node:
        return None
    defined = {*proto.input, *(name for inner in proto.node for name in inner.output)}
    while proto.output and proto.output[-1] not in defined:  # optional, and not asked for
        del proto.output[-1]
    if not proto.opset_import:
        proto.opset_import.add(domain="", version=opset)
    function = read_function(
        context.model.path, Values(context.model.path, slim(b"")), proto, frozenset()
    )
    defaults = {
        name: _plain(onnx.helper.get_attribute_value(attribute.default_value))
        for name, attribute in schema.attributes.items()
        if attribute.default_value.name
    }
    return Function(
        function.identity,
        function.inputs,
        function.outputs,
        function.attributes,
        {**defaults, **function.defaults},
        function.nodes,
        function.opsets,
    )


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _body(call: Node, function: Function, context: Context) -> list[Node]:
    prefix = f"{call.name or call.outputs[0]}/"
    names = {"": ""}
    for position, name in enumerate(function.inputs):
        names[name] = call.inputs[position] if position < len(call.inputs) else ""
    given = dict(zip(function.outputs, call.outputs, strict=False))
    handed_on = {}
    for name, target in given.items():
        if name in names and target:  # an input that is an output too
            handed_on[target] = names[name]
        elif target:
            names[name] = target
    attributes = {**function.defaults, **call.attributes}
    nodes = [_copied(node, names, attributes, prefix, context) for node in function.nodes]
    for target, source in handed_on.items():
        nodes.append(Node("Identity", (source,), (target,), since_version=1))
    return nodes


def _copied(
    node: Node, names: dict[str, str], given: Mapping[str, Any], prefix: str, context: Context
) -> Node:
    for name in node.outputs:
        if name not in names:
            names[name] = context.unique(prefix + name)
    attributes = {}
    for name, value in node.attributes.items():
        if not isinstance(value, AttributeRef):
            attributes[name] = value
        elif value.name in given:
            attributes[name] = given[value.name]
    copy = node.replace(
        inputs=tuple(names[name] for name in node.inputs),
        outputs=tuple(names[name] for name in node.outputs),
        attributes=attributes,
        name=prefix + (node.name or node.op + "_" + names[node.outputs[0]].removeprefix(prefix)),
    )
    return map_graphs(copy, lambda graph: _graph(graph, names, given, prefix, context))


def _graph(
    graph: Graph, outer: dict[str, str], given: Mapping[str, Any], prefix: str, context: Context
) -> Graph:
    names = dict(outer)
    inputs = []
    for value in graph.inputs:
        names[value.name] = context.unique(prefix + value.name)
        inputs.append(type(value)(names[value.name], value.type))
    initializers: dict[str, Tensor] = {}
    for name, tensor in graph.initializers.items():
        names[name] = context.unique(prefix + name)
        initializers[names[name]] = tensor
    nodes = tuple(_copied(node, names, given, prefix, context) for node in graph.nodes)
    outputs = tuple(type(value)(names[value.name], value.type) for value in graph.outputs)
    return Graph(graph.name, tuple(inputs), outputs, nodes, initializers)
