"""attention(gemm(x, Wq), gemm(x, Wk), gemm(x, Wv)) -> attention(gemm(x, [Wq | Wk | Wv])).

One wide GEMM reads x once, and the engine's attention takes q, k and v side by side.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from pelton.compiler.ir import Activation, Graph, Node, Op, Role, Tensor
from pelton.compiler.passes._fuse import use_counts

__all__ = ["merge_qkv"]


def merge_qkv(graph: Graph) -> Graph:
    """Every attention whose q, k and v are GEMMs of one input gets them from one GEMM."""
    uses = use_counts(graph)
    tensors = dict(graph.tensors)
    by_output = {node.output: node for node in graph.nodes}
    nodes: list[Node] = []
    for node in graph.nodes:
        parts = [by_output[name] for name in node.reads() if name in by_output]
        if not _mergeable(graph, node, parts) or any(uses[part.output] != 1 for part in parts):
            nodes.append(node)
            continue
        name = node.output + ".qkv"
        while any(used in tensors for used in (name, name + ".weight", name + ".bias")):
            name += "_"
        merged = _merged(tensors, parts, name)
        nodes = [kept for kept in nodes if kept not in parts]
        nodes.append(merged)
        nodes.append(node.with_operands(qkv=merged.output, k=None, v=None))
        for part in parts:
            del tensors[part.output]
    return Graph(graph.name, MappingProxyType(tensors), tuple(nodes))


def _mergeable(graph: Graph, node: Node, parts: list[Node]) -> bool:
    if node.op is not Op.ATTENTION or len(parts) != 3:
        return False
    # All with a bias or none: a missing one would be a row of zeros in the merged GEMM.
    return (
        all(part.op is Op.GEMM for part in parts)
        and len({part.operand("x") for part in parts}) == 1
        and len({part.operand("bias") is None for part in parts}) == 1
        and all(part.operand("residual") is None for part in parts)
        and all(part.attributes["activation"] == Activation.NONE for part in parts)
        and all(graph.tensors[part.output].role is Role.INTERMEDIATE for part in parts)
    )


def _merged(tensors: dict[str, Tensor], parts: list[Node], name: str) -> Node:
    weight = _concatenated(tensors, name + ".weight", [p.operand("weight") for p in parts])
    bias = _concatenated(tensors, name + ".bias", [p.operand("bias") for p in parts])
    first = tensors[parts[0].output]
    width = sum(tensors[part.output].dims[1] for part in parts)
    tensors[name] = Tensor(name, Role.INTERMEDIATE, first.dtype, (first.dims[0], width))
    return Node(Op.GEMM, (parts[0].operand("x"), weight, bias, None), name, parts[0].attributes)


def _concatenated(tensors: dict[str, Tensor], name: str, parts: list[str | None]) -> str | None:
    arrays = [tensors[part].data for part in parts if part is not None]
    if not arrays:
        return None
    data = np.concatenate([array for array in arrays if array is not None], axis=-1)
    tensors[name] = Tensor(name, Role.WEIGHT, "FP32", data.shape, data)
    return name
