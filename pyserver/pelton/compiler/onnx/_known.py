"""Integers that a graph computes from shapes: small arrays of sizes, evaluated as such.

Exporters write shape arithmetic as nodes: Shape, Gather, Concat, Reshape. Here such values are
NumPy object arrays whose elements are `Dim`s, so NumPy itself does the moving about. An op, or a
question, whose answer depends on what a name stands for gives None: nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pelton.compiler.onnx import dims
from pelton.compiler.onnx.dims import Dim, Expr
from pelton.compiler.onnx.graph import Node, Shape
from pelton.compiler.onnx.tensors import Tensor

__all__ = ["ELEMENTS_MAX", "Known", "evaluate", "known_of", "whole"]

#: Larger arrays are data, not shapes.
ELEMENTS_MAX: Final = 2048

Known: TypeAlias = npt.NDArray[np.object_]
_Args: TypeAlias = Sequence[Known | None]


class _Unknown(Exception):
    pass


def known_of(tensor: Tensor) -> Known | None:
    """The values of a small constant that are integers (also as floats); else None."""
    if tensor.size > ELEMENTS_MAX or not tensor.has_array or tensor.dtype == "BYTES":
        return None
    array = tensor.array
    if array.dtype.kind in "iub":
        return np.asarray(array.astype(object))
    if array.dtype.kind == "f":
        exact = array.astype(np.float64)  # 2**24 itself is beyond float16
        small = bool(np.all(np.abs(exact) < 2**24))
        whole_numbers = exact.astype(np.int64) if small else None
        if whole_numbers is not None and bool((whole_numbers == exact).all()):
            return np.asarray(whole_numbers.astype(object))
    return None


def whole(known: Known | None) -> list[int] | None:
    """The values as integers, if they all are."""
    if known is None or not all(isinstance(item, int) for item in known.flat):
        return None
    return [int(item) for item in known.flat]


def evaluate(
    node: Node, args: _Args, shapes: Sequence[Shape | None], is_float: bool
) -> list[Known | None]:
    """What is known of each output. `is_float`: the first input's elements are floats."""
    unknown: list[Known | None] = [None] * len(node.outputs)
    if node.domain:
        return unknown
    try:
        if node.op == "Split":
            return _split(node, args)
        if node.op in {"Shape", "Size"}:
            return [_shape(node, shapes[0])]
        rule = _RULES.get(node.op)
        if rule is None or any(
            name and arg is None for name, arg in zip(node.inputs, args, strict=True)
        ):
            return unknown
        if node.op in {"Div", "Mod"} and is_float:
            rule = _exact_division
        result = rule(node, list(args))
    except (_Unknown, IndexError, ValueError, TypeError, ZeroDivisionError, OverflowError):
        return unknown
    result = np.asarray(result, dtype=object)
    return [result if result.size <= ELEMENTS_MAX else None, *unknown[1:]]


def _shape(node: Node, shape: Shape | None) -> Known:
    if shape is None:
        raise _Unknown
    if node.op == "Size":
        return np.asarray(dims.product(shape), dtype=object)
    part = shape[node.attributes.get("start", 0) : node.attributes.get("end", None)]
    return _vector(part)


def _vector(items: Sequence[Dim]) -> Known:
    result = np.empty(len(items), dtype=object)
    result[:] = items
    return result


def _ints(known: Known) -> list[int]:
    values = whole(known)
    if values is None:
        raise _Unknown
    return values


def _each(function: Callable[..., Any], count: int) -> Callable[[Node, Any], Any]:
    vectorized = np.frompyfunc(function, count, 1)
    return lambda _node, args: vectorized(*args)


def _divide(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    if isinstance(b, int) and b < 0:
        raise _Unknown
    return dims.floor_divide(a, b)


def _exact_division(node: Node, args: Any) -> Any:
    def exact(a: Dim, b: Dim) -> Dim:
        quotient = dims.divide(a, b) if b != 0 and node.op == "Div" else None
        if quotient is None:
            raise _Unknown
        return quotient

    return np.frompyfunc(exact, 2, 1)(*args)


def _modulo(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    if b == 1 or dims.divide(a, b) is not None:
        return 0
    raise _Unknown


def _equal(a: Dim, b: Dim) -> bool:
    if a == b:
        return True
    difference = dims.subtract(a, b)
    if isinstance(difference, int):
        return False
    # Sizes are not negative: a sum of them with a positive constant is not zero.
    signs = {factor > 0 for _, factor in difference.terms}
    if len(signs) == 1 and any(not names for names, _ in difference.terms):
        return False
    raise _Unknown


def _less(a: Dim, b: Dim) -> bool:
    difference = dims.subtract(b, a)
    if isinstance(difference, int):
        return difference > 0
    signs = {factor > 0 for _, factor in difference.terms}
    constant = dict(difference.terms).get((), 0)
    if signs == {True} and constant > 0:
        return True
    if signs == {False}:
        return False
    raise _Unknown


def _smaller(a: Dim, b: Dim) -> Dim:
    return a if a == b or _less(a, b) else b


def _larger(a: Dim, b: Dim) -> Dim:
    return b if a == b or _less(a, b) else a


def _truth(value: object) -> bool:
    if isinstance(value, Expr):
        raise _Unknown
    return bool(value)


def _axes(node: Node, args: Any, position: int = 1) -> list[int] | None:
    if "axes" in node.attributes:
        return list(node.attributes["axes"])
    if len(args) > position and args[position] is not None:
        return _ints(args[position])
    return None


def _cast(node: Node, args: Any) -> Any:
    if node.attributes.get("to") == 9:
        return np.frompyfunc(lambda v: int(_truth(v)), 1, 1)(args[0])
    return args[0]


def _gather(node: Node, args: Any) -> Any:
    indices = np.array(_ints(args[1]), dtype=np.int64).reshape(args[1].shape)
    return np.take(args[0], indices, axis=node.attributes.get("axis", 0))


def _slice(node: Node, args: Any) -> Any:
    data = args[0]
    if "starts" in node.attributes:
        starts, ends = node.attributes["starts"], node.attributes["ends"]
        axes, steps = node.attributes.get("axes"), None
    else:
        starts, ends = _ints(args[1]), _ints(args[2])
        axes = _axes(node, args, 3)
        steps = _ints(args[4]) if len(args) > 4 and args[4] is not None else None
    index: list[slice] = [slice(None)] * data.ndim
    for i, axis in enumerate(axes if axes is not None else range(len(starts))):
        step = steps[i] if steps else 1
        index[axis] = slice(starts[i], ends[i], step)
    return data[tuple(index)]


def _unsqueeze(node: Node, args: Any) -> Any:
    axes = _axes(node, args) or []
    return np.expand_dims(args[0], tuple(axes))


def _squeeze(node: Node, args: Any) -> Any:
    axes = _axes(node, args)
    return np.squeeze(args[0], None if axes is None else tuple(axes))


def _reshape(node: Node, args: Any) -> Any:
    shape = _ints(args[1]) if len(args) > 1 else list(node.attributes["shape"])
    kept = [args[0].shape[i] if size == 0 else size for i, size in enumerate(shape)]
    return args[0].reshape(kept)


def _range(_node: Node, args: Any) -> Any:
    start, limit, step = (_ints(arg)[0] for arg in args)
    if step == 0 or abs(limit - start) // abs(step) > ELEMENTS_MAX:
        raise _Unknown
    return _vector(list(range(start, limit, step)))


def _constant_of_shape(node: Node, args: Any) -> Any:
    shape = _ints(args[0])
    if np.prod(shape, dtype=np.float64) > ELEMENTS_MAX:
        raise _Unknown
    value = node.attributes.get("value")
    known = known_of(value) if value is not None else np.zeros(1, dtype=object)
    if known is None:
        raise _Unknown
    return np.full(shape, known.flat[0], dtype=object)


def _expand(_node: Node, args: Any) -> Any:
    shape = np.broadcast_shapes(args[0].shape, tuple(_ints(args[1])))
    if np.prod(shape, dtype=np.float64) > ELEMENTS_MAX:
        raise _Unknown
    return np.broadcast_to(args[0], shape)


def _reduce(function: Callable[[Any, Any], Any]) -> Callable[[Node, Any], Any]:
    def rule(node: Node, args: Any) -> Any:
        axes = _axes(node, args)
        if axes is None and node.attributes.get("noop_with_empty_axes"):
            return args[0]
        kept = bool(node.attributes.get("keepdims", 1))
        every = tuple(range(args[0].ndim)) if not axes else tuple(axes)
        combine = np.frompyfunc(function, 2, 1)
        result = args[0]
        for axis in sorted((axis % max(args[0].ndim, 1) for axis in every), reverse=True):
            result = combine.reduce(result, axis=axis, keepdims=kept)
        return result

    return rule


def _split(node: Node, args: _Args) -> list[Known | None]:
    data = args[0]
    if data is None:
        raise _Unknown
    count = len(node.outputs)
    axis = node.attributes.get("axis", 0)
    sizes = node.attributes.get("split")
    if sizes is None and len(args) > 1 and args[1] is not None:
        sizes = _ints(args[1])
    if sizes is None:
        size = -(-data.shape[axis] // count)
        return list(np.split(data, range(size, size * count, size), axis=axis))
    return list(np.split(data, np.cumsum(sizes)[:-1], axis=axis))


def _where(condition: object, a: Dim, b: Dim) -> Dim:
    return a if _truth(condition) else b


def _fold(function: Callable[[Dim, Dim], Dim]) -> Callable[[Node, Any], Any]:
    vectorized = np.frompyfunc(function, 2, 1)

    def rule(_node: Node, args: Any) -> Any:
        result = args[0]
        for other in args[1:]:
            result = vectorized(result, other)
        return result

    return rule


_RULES: Final[Mapping[str, Callable[[Node, Any], Any]]] = {
    "Identity": lambda _node, args: args[0],
    "Cast": _cast,
    "Floor": lambda _node, args: args[0],
    "Ceil": lambda _node, args: args[0],
    "Gather": _gather,
    "Concat": lambda node, args: np.concatenate(args, axis=node.attributes["axis"]),
    "Slice": _slice,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Range": _range,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Add": _each(dims.add, 2),
    "Sub": _each(dims.subtract, 2),
    "Mul": _each(dims.multiply, 2),
    "Div": _each(_divide, 2),
    "Mod": _each(_modulo, 2),
    "Neg": _each(dims.negate, 1),
    "Min": _fold(_smaller),
    "Max": _fold(_larger),
    "Equal": _each(_equal, 2),
    "Less": _each(_less, 2),
    "Greater": _each(lambda a, b: _less(b, a), 2),
    "LessOrEqual": _each(lambda a, b: not _less(b, a), 2),
    "GreaterOrEqual": _each(lambda a, b: not _less(a, b), 2),
    "Not": _each(lambda a: not _truth(a), 1),
    "And": _each(lambda a, b: _truth(a) and _truth(b), 2),
    "Or": _each(lambda a, b: _truth(a) or _truth(b), 2),
    "Where": _each(_where, 3),
    "ReduceProd": _reduce(dims.multiply),
    "ReduceSum": _reduce(dims.add),
    "ReduceMax": _reduce(_larger),
    "ReduceMin": _reduce(_smaller),
    "Transpose": lambda node, args: np.transpose(args[0], node.attributes.get("perm")),
}
