"""Nodes over constants are evaluated once, here, where NumPy gives the bits that a kernel would."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pelton.compiler.onnx.dtypes import BY_CODE, BY_NAME, numpy_dtype
from pelton.compiler.onnx.graph import Graph, Node
from pelton.compiler.onnx.passes._rewrite import Context
from pelton.compiler.onnx.tensors import Tensor

__all__ = ["BYTES_MAX", "SMALL_BYTES", "fold_constants"]

#: No result larger than this is kept; above SMALL_BYTES none larger than twice its inputs.
BYTES_MAX: Final = 64 << 20
SMALL_BYTES: Final = 64 << 10

_Array = npt.NDArray[Any]


def fold_constants(graph: Graph, context: Context) -> Graph:
    """The graph with initializers in the place of nodes over initializers of this graph."""
    constants = dict(graph.initializers)
    nodes = []
    for node in graph.nodes:
        result = _folded(node, constants, context)
        if result is None:
            nodes.append(node)
        else:
            constants[node.outputs[0]] = result
    if len(nodes) == len(graph.nodes):
        return graph
    return graph.replace(nodes=tuple(nodes), initializers=constants)


def _folded(node: Node, constants: Mapping[str, Tensor], context: Context) -> Tensor | None:
    rule = _RULES.get(node.op) if not node.domain else None
    if rule is None or len(node.outputs) != 1 or not node.inputs:
        return None
    inputs = [constants.get(name) for name in node.inputs if name]
    tensors = [tensor for tensor in inputs if tensor is not None]
    if len(tensors) != len(node.inputs) or not _fits(node, tensors, context):
        return None
    if any(not tensor.has_array or tensor.dtype == "BYTES" for tensor in tensors):
        return None
    try:
        with np.errstate(all="ignore"):
            result = rule(node, [tensor.array for tensor in tensors])
    except (ValueError, IndexError, TypeError, KeyError, OverflowError):
        return None  # not as the rule expects: the node stays, and whoever runs it says why
    return Tensor.of(result)


def _fits(node: Node, inputs: Sequence[Tensor], context: Context) -> bool:
    """Whether the result is known to be small, before it is made."""
    shape = context.found.shape(node.outputs[0])
    dtype = context.found.dtype(node.outputs[0])
    if shape is None or dtype is None or not all(isinstance(dim, int) for dim in shape):
        return False
    sizes = [dim for dim in shape if isinstance(dim, int)]
    nbytes = BY_NAME[dtype].nbytes(prod(sizes))
    given = sum(tensor.nbytes for tensor in inputs)
    return nbytes <= BYTES_MAX and nbytes <= max(SMALL_BYTES, 2 * given)


def _cast(node: Node, args: list[_Array]) -> _Array:
    target = numpy_dtype(BY_CODE[node.attributes["to"]].name)
    # Floats outside an integer's range, and conversions to the small floats, differ by machine.
    if target is None or target.kind not in "iubf" or args[0].dtype.kind not in "iubf":
        raise ValueError("not folded")
    if args[0].dtype.kind == "f" and target.kind in "iu":
        limits = np.iinfo(target)
        if not bool(np.all((args[0] > limits.min) & (args[0] < limits.max))):
            raise ValueError("not folded")
    return args[0].astype(target)


def _divide(_node: Node, args: list[_Array]) -> _Array:
    if args[0].dtype.kind == "f":
        return np.asarray(args[0] / args[1])
    if not bool(args[1].all()):
        raise ValueError("division by zero")
    quotient = np.abs(args[0]) // np.abs(args[1])
    return np.asarray(np.where((args[0] < 0) == (args[1] < 0), quotient, -quotient))


def _axes(node: Node, args: list[_Array]) -> tuple[int, ...] | None:
    if "axes" in node.attributes:
        return tuple(node.attributes["axes"])
    return tuple(args[1].tolist()) if len(args) > 1 else None


def _reshape(node: Node, args: list[_Array]) -> _Array:
    shape = args[1].tolist() if len(args) > 1 else list(node.attributes["shape"])
    if not node.attributes.get("allowzero"):
        shape = [args[0].shape[i] if size == 0 else size for i, size in enumerate(shape)]
    return args[0].reshape(shape)


def _slice(_node: Node, args: list[_Array]) -> _Array:
    starts, ends = args[1].tolist(), args[2].tolist()
    axes = args[3].tolist() if len(args) > 3 else range(len(starts))
    steps = args[4].tolist() if len(args) > 4 else [1] * len(starts)
    index = [slice(None)] * args[0].ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        index[axis] = slice(start, end, step)
    return args[0][tuple(index)]


def _gather(node: Node, args: list[_Array]) -> _Array:
    return np.asarray(np.take(args[0], args[1], axis=node.attributes.get("axis", 0)))


def _two(function: Callable[[Any, Any], Any]) -> Callable[[Node, list[_Array]], _Array]:
    return lambda _node, args: np.asarray(function(args[0], args[1]))


def _one(function: Callable[[Any], Any]) -> Callable[[Node, list[_Array]], _Array]:
    return lambda _node, args: np.asarray(function(args[0]))


def _expand(_node: Node, args: list[_Array]) -> _Array:
    shape = np.broadcast_shapes(args[0].shape, tuple(args[1].tolist()))
    return np.broadcast_to(args[0], shape)


#: Ops whose results are exact, or correctly rounded by IEEE 754, so that every machine agrees.
_RULES: Final[Mapping[str, Callable[[Node, list[_Array]], _Array]]] = {
    "Abs": _one(np.abs),
    "Add": _two(np.add),
    "Cast": _cast,
    "Concat": lambda node, args: np.concatenate(args, axis=node.attributes["axis"]),
    "Div": _divide,
    "Equal": _two(np.equal),
    "Expand": _expand,
    "Gather": _gather,
    "Greater": _two(np.greater),
    "Identity": _one(np.asarray),
    "Less": _two(np.less),
    "Mul": _two(np.multiply),
    "Neg": _one(np.negative),
    "Not": _one(np.logical_not),
    "Reshape": _reshape,
    "Slice": _slice,
    "Sqrt": _one(np.sqrt),
    "Squeeze": lambda node, args: np.squeeze(args[0], _axes(node, args)),
    "Sub": _two(np.subtract),
    "Transpose": lambda node, args: np.transpose(args[0], node.attributes.get("perm")),
    "Unsqueeze": lambda node, args: np.expand_dims(args[0], _axes(node, args) or ()),
    "Where": lambda _node, args: np.asarray(np.where(*args)),
}
