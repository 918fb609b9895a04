"""What the fusing passes share: a GEMM whose output one node alone reads becomes that node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from pelton.compiler.ir import Graph, Node, Op, Role, Tensor

__all__ = ["fuse_into_gemm", "use_counts"]


def use_counts(graph: Graph) -> Counter[str]:
    """How many operands read each tensor; an output counts as read by the caller."""
    counts = Counter(name for node in graph.nodes for name in node.reads())
    counts.update(tensor.name for tensor in graph.outputs)
    return counts


def fuse_into_gemm(
    graph: Graph,
    candidates: Callable[[Node], tuple[str, ...]],
    fuse: Callable[[Mapping[str, Tensor], Node, Node, str], Node | None],
) -> Graph:
    """`candidates(node)` names operands of `node` that may come from a GEMM; for the first whose
    GEMM has no other reader, `fuse(tensors, gemm, node, operand)` returns the GEMM that does the
    work of both, or None. It takes the place of `node`: there, all that either reads is computed.
    """
    uses = use_counts(graph)
    nodes: list[Node] = []
    gemms: dict[str, Node] = {}
    removed: set[str] = set()
    for node in graph.nodes:
        fused = None
        for operand in candidates(node):
            gemm = gemms.get(operand)
            if gemm is None or uses[operand] != 1:
                continue
            fused = fuse(graph.tensors, gemm, node, operand)
            if fused is not None:
                nodes.remove(gemm)
                removed.add(operand)
                break
        kept = node if fused is None else replace(fused, output=node.output)
        nodes.append(kept)
        if kept.op is Op.GEMM and graph.tensors[kept.output].role is Role.INTERMEDIATE:
            gemms[kept.output] = kept
    tensors = {name: t for name, t in graph.tensors.items() if name not in removed}
    return Graph(graph.name, MappingProxyType(tensors), tuple(nodes))
