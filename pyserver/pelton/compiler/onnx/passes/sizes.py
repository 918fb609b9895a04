"""Shape arithmetic whose result is known becomes a constant."""

from __future__ import annotations

import numpy as np

from pelton.compiler.onnx._known import whole
from pelton.compiler.onnx.graph import Graph
from pelton.compiler.onnx.passes._rewrite import Context
from pelton.compiler.onnx.tensors import Tensor

__all__ = ["fold_sizes"]


def fold_sizes(graph: Graph, context: Context) -> Graph:
    """The graph with an initializer in the place of each INT64 or INT32 value that inference
    knows, although its inputs may not be constants: of `Shape` of [N, 3], the part after the first.
    """
    folded = {}
    for node in graph.nodes:
        name = node.outputs[0]
        known = context.found.known.get(name)
        values = whole(known)
        dtype = context.found.dtype(name)
        if known is None or values is None or any(node.outputs[1:]) or node.subgraphs:
            continue
        if dtype in {"INT64", "INT32"}:
            folded[name] = Tensor.of(np.array(values, dtype.lower()).reshape(known.shape))
    if not folded:
        return graph
    nodes = tuple(node for node in graph.nodes if node.outputs[0] not in folded)
    return graph.replace(nodes=nodes, initializers={**graph.initializers, **folded})
