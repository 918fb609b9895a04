"""From our graphs back to protobuf messages: for ONNX's own tools, ONNX Runtime, and inspection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pelton.compiler.onnx._schemas import attribute_kinds, schema_of
from pelton.compiler.onnx.dtypes import BY_NAME
from pelton.compiler.onnx.graph import (
    AttributeRef,
    Function,
    Graph,
    Node,
    OnnxModel,
    OtherType,
    Type,
    Value,
)
from pelton.compiler.onnx.tensors import Tensor

__all__ = ["to_model_proto", "to_node_proto", "to_tensor_proto", "to_type_proto"]

_INTS: Final = 7


def to_model_proto(model: OnnxModel) -> Any:
    """A ModelProto of the model, with all weights inside it (so at most 2 GiB)."""
    import onnx

    proto = onnx.ModelProto()
    proto.ir_version = model.ir_version
    for domain, version in model.opsets.items():
        proto.opset_import.add(domain=domain, version=version)
    for function in model.functions.values():
        proto.functions.append(_function(function))
    proto.graph.CopyFrom(_graph(model.graph, model.opsets))
    return proto


def to_tensor_proto(name: str, tensor: Tensor) -> Any:
    """A TensorProto with the tensor's bytes in it."""
    import onnx

    proto = onnx.TensorProto(name=name, data_type=BY_NAME[tensor.dtype].code, dims=tensor.shape)
    if isinstance(tensor.data, tuple):
        proto.string_data.extend(tensor.data)
    else:
        proto.raw_data = bytes(tensor.raw)
    return proto


def to_type_proto(kind: Type) -> Any:
    """A TypeProto; sizes that are no integers become dim_params."""
    import onnx

    proto = onnx.TypeProto()
    if isinstance(kind, OtherType):
        proto.ParseFromString(kind.proto)
        return proto
    tensor = proto.tensor_type
    tensor.elem_type = BY_NAME[kind.dtype].code
    if kind.shape is not None:
        tensor.shape.SetInParent()
        for dim in kind.shape:
            if isinstance(dim, int):
                tensor.shape.dim.add(dim_value=dim)
            else:
                tensor.shape.dim.add(dim_param=str(dim))
    return proto


def to_node_proto(node: Node, opsets: Mapping[str, int]) -> Any:
    """A NodeProto; `opsets` say what kind an empty list among the attributes has."""
    import onnx

    proto = onnx.NodeProto(
        op_type=node.op,
        input=node.inputs,
        output=node.outputs,
        name=node.name,
        domain=node.domain,
        overload=node.overload,
    )
    for name, value in node.attributes.items():
        proto.attribute.append(_attribute(name, value, node, opsets))
    return proto


def _attribute(name: str, value: Any, node: Node, opsets: Mapping[str, int]) -> Any:
    import onnx

    kinds = onnx.AttributeProto
    if isinstance(value, AttributeRef):
        return onnx.AttributeProto(name=name, ref_attr_name=value.name, type=value.kind)
    if isinstance(value, OtherType):
        return onnx.AttributeProto(name=name, type=kinds.TYPE_PROTO, tp=to_type_proto(value))
    if isinstance(value, tuple) and not value:
        return onnx.AttributeProto(name=name, type=_kind_of(name, node, opsets))
    if isinstance(value, Tensor):
        return onnx.AttributeProto(name=name, type=kinds.TENSOR, t=to_tensor_proto("", value))
    if isinstance(value, Graph):
        return onnx.AttributeProto(name=name, type=kinds.GRAPH, g=_graph(value, opsets))
    if isinstance(value, tuple) and isinstance(value[0], Tensor):
        tensors = [to_tensor_proto("", item) for item in value]
        return onnx.AttributeProto(name=name, type=kinds.TENSORS, tensors=tensors)
    if isinstance(value, tuple) and isinstance(value[0], Graph):
        graphs = [_graph(item, opsets) for item in value]
        return onnx.AttributeProto(name=name, type=kinds.GRAPHS, graphs=graphs)
    if isinstance(value, tuple) and isinstance(value[0], OtherType):
        types = [to_type_proto(item) for item in value]
        return onnx.AttributeProto(name=name, type=kinds.TYPE_PROTOS, type_protos=types)
    return onnx.helper.make_attribute(name, value)


def _kind_of(name: str, node: Node, opsets: Mapping[str, int]) -> int:
    opset = opsets.get(node.domain, 1)
    if schema_of(node.op, node.domain, opset) is None:
        return _INTS
    return attribute_kinds(node.op, node.domain, opset).get(name, (_INTS, False))[0]


def _info(value: Value) -> Any:
    import onnx

    proto = onnx.ValueInfoProto(name=value.name)
    if value.type is not None:
        proto.type.CopyFrom(to_type_proto(value.type))
    return proto


def _graph(graph: Graph, opsets: Mapping[str, int]) -> Any:
    import onnx

    proto = onnx.GraphProto(name=graph.name or "graph")
    proto.node.extend(_nodes(graph.nodes, opsets))
    proto.input.extend(map(_info, graph.inputs))
    proto.output.extend(map(_info, graph.outputs))
    for name, tensor in graph.initializers.items():
        proto.initializer.append(to_tensor_proto(name, tensor))
    return proto


def _nodes(nodes: Iterable[Node], opsets: Mapping[str, int]) -> list[Any]:
    return [to_node_proto(node, opsets) for node in nodes]


def _function(function: Function) -> Any:
    import onnx

    domain, name, overload = function.identity
    proto = onnx.FunctionProto(
        name=name,
        domain=domain,
        overload=overload,
        input=function.inputs,
        output=function.outputs,
        attribute=[name for name in function.attributes if name not in function.defaults],
    )
    holder = Node(name, (), (), domain=domain)
    for key, value in function.defaults.items():
        proto.attribute_proto.append(_attribute(key, value, holder, function.opsets))
    proto.node.extend(_nodes(function.nodes, function.opsets))
    for imported, version in function.opsets.items():
        proto.opset_import.add(domain=imported, version=version)
    return proto
