"""activation(gemm(...)) -> gemm(..., activation), unless a residual has been added already."""

from __future__ import annotations

from collections.abc import Mapping

from pelton.compiler.ir import Activation, Graph, Node, Op, Tensor
from pelton.compiler.passes._fuse import fuse_into_gemm

__all__ = ["fuse_activation"]


def fuse_activation(graph: Graph) -> Graph:
    """Activations move into the GEMMs before them."""
    return fuse_into_gemm(graph, _activated, _fuse)


def _activated(node: Node) -> tuple[str, ...]:
    return tuple(node.reads()) if node.op is Op.ACTIVATION else ()


def _fuse(_tensors: Mapping[str, Tensor], gemm: Node, node: Node, _operand: str) -> Node | None:
    if gemm.operand("residual") is not None or gemm.attributes["activation"] != Activation.NONE:
        return None
    return gemm.with_attributes(activation=node.attributes["activation"])
