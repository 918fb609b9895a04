"""add(gemm(x, W), b) -> gemm(x, W, bias=b), for a weight b of one element per column."""

from __future__ import annotations

from collections.abc import Mapping

from pelton.compiler.ir import Activation, Binary, Graph, Node, Op, Role, Tensor
from pelton.compiler.passes._fuse import fuse_into_gemm

__all__ = ["fuse_bias"]


def fuse_bias(graph: Graph) -> Graph:
    """Biases move into the GEMMs before them."""
    return fuse_into_gemm(graph, _added_to, _fuse)


def _added_to(node: Node) -> tuple[str, ...]:
    if node.op is not Op.BINARY or node.attributes["operation"] != Binary.ADD:
        return ()
    operand = node.operand("a")
    return () if operand is None else (operand,)


def _fuse(tensors: Mapping[str, Tensor], gemm: Node, add: Node, operand: str) -> Node | None:
    name = add.operand("b")
    if name is None or tensors[name].role is not Role.WEIGHT:
        return None
    plain = gemm.attributes["activation"] == Activation.NONE and gemm.operand("residual") is None
    per_column = tensors[name].dims == tensors[operand].dims[1:]
    if not plain or not per_column or gemm.operand("bias") is not None:
        return None
    return gemm.with_operands(bias=name)
