"""onnx's own shape inference, one node at a time, over our types.

Per node, because that way weights never enter it (inference of a whole model copies them five times
over), and because our sizes, which onnx would lose, are put back between nodes: each goes in as a
dim_param whose text is looked up in what comes out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pelton.compiler.onnx import dims
from pelton.compiler.onnx._known import Known, whole
from pelton.compiler.onnx._schemas import schema_of
from pelton.compiler.onnx.dims import Dim, Expr
from pelton.compiler.onnx.dtypes import BY_CODE, BY_NAME
from pelton.compiler.onnx.export import to_node_proto, to_tensor_proto, to_type_proto
from pelton.compiler.onnx.graph import Node, OtherType, TensorType, Type
from pelton.compiler.onnx.tensors import Tensor

__all__ = ["OnnxTypes"]


def _complaints() -> tuple[type[Exception], ...]:
    """What onnx raises for sizes, and for element types, that do not fit the op."""
    import onnx

    sizes, types = onnx.shape_inference.InferenceError, onnx.checker.ValidationError
    return (sizes, types, RuntimeError, ValueError, KeyError)


class OnnxTypes:
    """Asks onnx for the types of a node's outputs."""

    def __init__(self, opsets: Mapping[str, int], ir_version: int) -> None:
        self._opsets = opsets
        self._ir_version = ir_version
        self._names: dict[str, Expr] = {}

    def outputs(
        self, node: Node, types: Sequence[Type | None], knowns: Sequence[Known | None]
    ) -> tuple[list[Type | None], str]:
        """The types of the outputs, None where unknown, and onnx's complaint or ""."""
        import onnx

        unknown: list[Type | None] = [None] * len(node.outputs)
        schema = schema_of(node.op, node.domain, self._opsets.get(node.domain, 1))
        if schema is None or any(
            name and kind is None for name, kind in zip(node.inputs, types, strict=True)
        ):
            return unknown, ""
        given = {
            name: self._put(kind) for name, kind in zip(node.inputs, types, strict=True) if kind
        }
        data = {}
        for name, known, kind in zip(node.inputs, knowns, types, strict=True):
            values = whole(known)
            if values is not None and known is not None and isinstance(kind, TensorType):
                stored = BY_NAME[kind.dtype].numpy
                if stored in {"int64", "int32", "float32", "float64", "bool"}:
                    array = np.array(values, dtype=stored).reshape(known.shape)
                    data[name] = to_tensor_proto(name, Tensor.of(array))
        imports = [onnx.helper.make_opsetid(d, v) for d, v in self._opsets.items()]
        try:
            found = onnx.shape_inference.infer_node_outputs(
                schema,
                to_node_proto(node, self._opsets),
                given,
                data,
                opset_imports=imports,
                ir_version=self._ir_version,
            )
        except _complaints() as error:
            return unknown, str(error)[:300]
        return [self._get(found.get(name), name) for name in node.outputs], ""

    def _put(self, kind: Type) -> Any:
        if isinstance(kind, TensorType):
            for dim in kind.shape or ():
                if isinstance(dim, Expr):
                    self._names[str(dim)] = dim
        return to_type_proto(kind)

    def _get(self, proto: Any, name: str) -> Type | None:
        if proto is None or not name or proto.WhichOneof("value") is None:
            return None
        if proto.WhichOneof("value") != "tensor_type":
            kind = proto.WhichOneof("value").removesuffix("_type")
            return OtherType(kind, proto.SerializeToString())
        tensor = proto.tensor_type
        if tensor.elem_type not in BY_CODE:
            return None
        dtype = BY_CODE[tensor.elem_type].name
        if not tensor.HasField("shape"):
            return TensorType(dtype, None)
        sizes = (self._dim(dim, f"{name}.{i}") for i, dim in enumerate(tensor.shape.dim))
        return TensorType(dtype, tuple(sizes))

    def _dim(self, proto: Any, what: str) -> Dim:
        if proto.WhichOneof("value") == "dim_value":
            return int(proto.dim_value) if proto.dim_value >= 0 else dims.fresh(what)
        known = self._names.get(proto.dim_param)
        return known if known is not None else dims.fresh(what)
