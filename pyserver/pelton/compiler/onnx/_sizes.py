"""Shapes of outputs where a size is a name: rules that go further than onnx's own inference.

Each takes the node, the types of its inputs and what is known of their values, and gives the shape
of the first output, or None where it cannot tell. Element types are onnx's business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Final, TypeAlias

from pelton.compiler.onnx import dims
from pelton.compiler.onnx._known import Known, whole
from pelton.compiler.onnx.dims import Dim, Expr
from pelton.compiler.onnx.graph import Node, Shape

__all__ = ["ELEMENTWISE", "RULES", "broadcast"]

_Shapes: TypeAlias = Sequence[Shape | None]
_Knowns: TypeAlias = Sequence[Known | None]
_Rule: TypeAlias = Callable[[Node, _Shapes, _Knowns], Shape | None]

#: What exporters write for "to the end"; no axis of a tensor that is served is as long.
_ENDLESS: Final = 10**9
_ELEMENTWISE: Final = (
    "Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr "
    "BitwiseXor Cast CastLike Ceil Celu Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu "
    "Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less "
    "LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round "
    "Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh "
    "ThresholdedRelu Where Xor "
)
#: Ops whose output has the broadcast shape of their inputs.
ELEMENTWISE: Final = frozenset(_ELEMENTWISE.split())


def broadcast(shapes: _Shapes) -> Shape | None:
    """The shape of operands together; a size against another of unknown relation is a new name."""
    if any(shape is None for shape in shapes):
        return None
    columns = zip_longest(*(reversed(shape) for shape in shapes if shape is not None), fillvalue=1)
    return tuple(reversed([_together(column) for column in columns]))


def _together(column: Sequence[Dim]) -> Dim:
    sizes = {dim for dim in column if dim != 1}
    if not sizes:
        return 1
    if len(sizes) == 1:
        return sizes.pop()
    numbers = [dim for dim in sizes if isinstance(dim, int)]
    if len(numbers) == 1:
        return numbers[0]  # the named sizes are this one, or 1
    return dims.fresh("broadcast")


def _elementwise(node: Node, shapes: _Shapes, _knowns: _Knowns) -> Shape | None:
    present = [s for name, s in zip(node.inputs, shapes, strict=True) if name]
    if node.op in {"Cast", "Clip", "CastLike", "Identity"}:
        return present[0]
    return broadcast(present)


def _reshape(node: Node, shapes: _Shapes, knowns: _Knowns) -> Shape | None:
    target: list[Dim]
    if "shape" in node.attributes:
        target = list(node.attributes["shape"])
    elif knowns[1] is not None and knowns[1].ndim == 1:
        target = list(knowns[1])
    elif len(shapes) > 1 and shapes[1] is not None and len(shapes[1]) == 1:
        rank = shapes[1][0]
        if isinstance(rank, Expr) or rank > 64:
            return None
        return tuple(dims.fresh(f"{node.outputs[0]}.{i}") for i in range(rank))
    else:
        return None
    source = shapes[0]
    if not node.attributes.get("allowzero"):
        for axis, size in enumerate(target):
            if size == 0:
                if source is None or axis >= len(source):
                    return None
                target[axis] = source[axis]
    if -1 in target:
        at = target.index(-1)
        target[at] = dims.fresh(f"{node.outputs[0]}.{at}")
        if source is not None:
            rest = dims.product(size for axis, size in enumerate(target) if axis != at)
            total = dims.product(source)
            if rest != 0:
                target[at] = dims.floor_divide(total, rest)
    return tuple(target)


def _expand(_node: Node, shapes: _Shapes, knowns: _Knowns) -> Shape | None:
    if knowns[1] is None or knowns[1].ndim != 1:
        return None
    return broadcast([shapes[0], tuple(knowns[1])])


def _constant_of_shape(_node: Node, _shapes: _Shapes, knowns: _Knowns) -> Shape | None:
    return tuple(knowns[0]) if knowns[0] is not None and knowns[0].ndim == 1 else None


def _range(_node: Node, _shapes: _Shapes, knowns: _Knowns) -> Shape | None:
    ends: list[Dim] = [known.item() for known in knowns if known is not None]
    if len(ends) != 3 or ends[2] != 1:
        return None
    return (dims.subtract(ends[1], ends[0]),)


def _tile(_node: Node, shapes: _Shapes, knowns: _Knowns) -> Shape | None:
    if shapes[0] is None or knowns[1] is None or knowns[1].size != len(shapes[0]):
        return None
    return tuple(map(dims.multiply, shapes[0], knowns[1]))


def _concat(node: Node, shapes: _Shapes, _knowns: _Knowns) -> Shape | None:
    first = shapes[0]
    if first is None:
        return None
    axis = node.attributes["axis"] % max(len(first), 1)
    total: Dim = 0
    result = list(first)
    for shape in shapes:
        if shape is None or len(shape) != len(first):
            return None
        total = dims.add(total, shape[axis])
        for i, dim in enumerate(shape):
            if isinstance(dim, int) and isinstance(result[i], Expr):
                result[i] = dim
    result[axis] = total
    return tuple(result)


def _flatten(node: Node, shapes: _Shapes, _knowns: _Knowns) -> Shape | None:
    shape = shapes[0]
    if shape is None:
        return None
    axis = node.attributes.get("axis", 1)
    axis += len(shape) if axis < 0 else 0
    return (dims.product(shape[:axis]), dims.product(shape[axis:]))


def _matmul(_node: Node, shapes: _Shapes, _knowns: _Knowns) -> Shape | None:
    a, b = shapes[:2]
    if a is None or b is None or not a or not b:
        return None
    rows = a[-2:-1]
    columns = b[-1:] if len(b) > 1 else ()
    batch = broadcast([a[:-2], b[:-2]])
    return None if batch is None else (*batch, *rows, *columns)


def _slice_one(size: Dim, start: Dim, end: Dim, step: int) -> Dim | None:
    if isinstance(size, int) and isinstance(start, int) and isinstance(end, int):
        return len(range(*slice(start, end, step).indices(size)))
    # What is cut from a named size is what was asked for only where that much is there.
    to_the_end = end == size or (isinstance(end, int) and end >= _ENDLESS)
    return size if start == 0 and step == 1 and to_the_end else None


def _slice(node: Node, shapes: _Shapes, knowns: _Knowns) -> Shape | None:
    shape = shapes[0]
    if shape is None:
        return None
    given: list[list[Dim] | None]
    if "starts" in node.attributes:
        given = [list(node.attributes["starts"]), list(node.attributes["ends"])]
        axes = node.attributes.get("axes")
        steps: list[int] | None = None
    else:
        given = [None if known is None else list(known) for known in knowns[1:3]]
        axes = whole(knowns[3]) if len(knowns) > 3 and node.inputs[3] else None
        if len(knowns) > 3 and node.inputs[3] and axes is None:
            return tuple(dims.fresh(f"{node.outputs[0]}.{i}") for i in range(len(shape)))
        steps = whole(knowns[4]) if len(knowns) > 4 and node.inputs[4] else None
    starts, ends = given
    count = len(starts) if starts is not None else len(ends) if ends is not None else None
    axes = list(range(count if count is not None else len(shape))) if axes is None else axes
    result = list(shape)
    for i, axis in enumerate(axes):
        size = None
        if starts is not None and ends is not None:
            step = steps[i] if steps else 1
            size = _slice_one(shape[axis], starts[i], ends[i], step)
        result[axis] = dims.fresh(f"{node.outputs[0]}.{axis}") if size is None else size
    return tuple(result)


def _pad(node: Node, shapes: _Shapes, knowns: _Knowns) -> Shape | None:
    shape = shapes[0]
    if shape is None:
        return None
    pads = node.attributes.get("pads", node.attributes.get("paddings"))
    if pads is None and len(knowns) > 1 and knowns[1] is not None:
        pads = list(knowns[1])
    axes = whole(knowns[3]) if len(knowns) > 3 and node.inputs[3] else list(range(len(shape)))
    if pads is None or axes is None or len(pads) != 2 * len(axes):
        return None
    result = list(shape)
    for i, axis in enumerate(axes):
        result[axis] = dims.add(shape[axis], dims.add(pads[i], pads[i + len(axes)]))
    return tuple(result)


def _window(node: Node, shapes: _Shapes, _knowns: _Knowns) -> Shape | None:
    """Conv and pooling: (size + pads - dilation * (kernel - 1) - 1) / stride + 1, rounded."""
    shape = shapes[0]
    if shape is None or len(shape) < 3:
        return None
    count = len(shape) - 2
    kernel: Sequence[Dim] | None = node.attributes.get("kernel_shape")
    channels = shape[1]
    if node.op == "Conv":
        weights = shapes[1]
        if weights is None or len(weights) != len(shape):
            return None
        kernel, channels = kernel or weights[2:], weights[0]
    if kernel is None or len(kernel) != count:
        return None
    strides = node.attributes.get("strides") or (1,) * count
    dilations = node.attributes.get("dilations") or (1,) * count
    pads = node.attributes.get("pads") or (0,) * 2 * count
    auto = node.attributes.get("auto_pad", b"NOTSET")
    result = [shape[0], channels]
    for i in range(count):
        size = shape[i + 2]
        if auto in (b"SAME_UPPER", b"SAME_LOWER"):
            result.append(dims.floor_divide(dims.add(size, strides[i] - 1), strides[i]))
            continue
        reach = dims.multiply(dims.subtract(kernel[i], 1), dilations[i])
        padded = dims.add(size, 0 if auto == b"VALID" else pads[i] + pads[i + count])
        room = dims.subtract(dims.subtract(padded, reach), 1)
        if node.attributes.get("ceil_mode"):
            if isinstance(room, int):
                return None  # onnx knows the corner cases
            room = dims.add(room, strides[i] - 1)
        result.append(dims.add(dims.floor_divide(room, strides[i]), 1))
    return tuple(result)


def _resize(node: Node, shapes: _Shapes, knowns: _Knowns) -> Shape | None:
    shape = shapes[0]
    if shape is None or "axes" in node.attributes:
        return None
    if len(knowns) > 3 and node.inputs[3]:
        sizes = knowns[3]
        kept = node.attributes.get("keep_aspect_ratio_policy", b"stretch") == b"stretch"
        return tuple(sizes) if sizes is not None and kept and sizes.size == len(shape) else None
    at = 1 if node.op == "Upsample" or len(knowns) == 2 else 2
    scales = whole(knowns[at]) if len(knowns) > at else None
    if not scales or len(scales) != len(shape):
        return None
    return tuple(map(dims.multiply, shape, scales))


RULES: Final[Mapping[str, _Rule]] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    "Reshape": _reshape,
    "Expand": _expand,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "Tile": _tile,
    "Concat": _concat,
    "Flatten": _flatten,
    "MatMul": _matmul,
    "Slice": _slice,
    "Pad": _pad,
    "Conv": _window,
    "MaxPool": _window,
    "AveragePool": _window,
    "LpPool": _window,
    "Resize": _resize,
    "Upsample": _resize,
}
