"""add(gemm(...), y) or add(y, gemm(...)) -> gemm(..., residual=y), y being no weight."""

from __future__ import annotations

from collections.abc import Mapping

from pelton.compiler.ir import Binary, Graph, Node, Op, Role, Tensor
from pelton.compiler.passes._fuse import fuse_into_gemm

__all__ = ["fuse_residual"]


def fuse_residual(graph: Graph) -> Graph:
    """Additions of another tensor move into the GEMMs before them."""
    return fuse_into_gemm(graph, _added, _fuse)


def _added(node: Node) -> tuple[str, ...]:
    if node.op is not Op.BINARY or node.attributes["operation"] != Binary.ADD:
        return ()
    return tuple(node.reads())


def _fuse(tensors: Mapping[str, Tensor], gemm: Node, add: Node, operand: str) -> Node | None:
    other = add.operand("b") if add.operand("a") == operand else add.operand("a")
    if other is None or tensors[other].role is Role.WEIGHT or gemm.operand("residual") is not None:
        return None
    return gemm.with_operands(residual=other)
