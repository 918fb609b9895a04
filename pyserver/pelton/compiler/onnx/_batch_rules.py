"""Where the rows of a batch are after each op, or why they meet in it.

A rule is called where at least one input has rows. It gives the state of every output, or of the
first alone, which then holds for all; it raises `Mixes` where it cannot show that each row of the
output depends on its own row of the inputs alone. Ops without a rule mix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from pelton.compiler.onnx import dims
from pelton.compiler.onnx._batch_states import (
    BATCH,
    SHARED,
    SIZED,
    Mixes,
    Rows,
    State,
    View,
    depends_on_batch,
)
from pelton.compiler.onnx._sizes import ELEMENTWISE
from pelton.compiler.onnx.dims import Dim
from pelton.compiler.onnx.graph import Shape

__all__ = ["RULES", "spread", "where_rows_are"]

_Result: TypeAlias = State | list[State]
_Rule: TypeAlias = Callable[[View], _Result]


def where_rows_are(source: Shape, rows: Rows, target: Shape) -> Rows:
    """The rows after a change of shape that keeps the order of elements.

    Elements are counted in the same order before and after. Where as many lie before one row as
    before, and the axis holds a whole number per row, each row still owns the same elements.
    """
    before = dims.product(source[: rows.axis])
    for axis, dim in enumerate(target):
        each = dims.divide(dim, BATCH)
        if each is not None and dims.product(target[:axis]) == before:
            return Rows(axis, each)
    raise Mixes(f"the shape {_text(target)} no longer has the rows of {_text(source)} on one axis")


def spread(source: Shape | None, target: Iterable[Dim]) -> State:
    """A shared value repeated to a shape with rows: all rows are equal."""
    sizes = list(target)
    found = [axis for axis, dim in enumerate(sizes) if depends_on_batch(dim)]
    if not found:
        return SHARED
    each = dims.divide(sizes[found[0]], BATCH)
    if len(found) > 1 or each is None:
        return SIZED
    at = found[0] - len(sizes) + (0 if source is None else len(source))
    if source is not None and at >= 0 and source[at] != 1:
        return SIZED
    return Rows(found[0], each)


def _text(shape: Shape) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def _align(view: View, positions: Iterable[int], rank: int, skip: int = 0) -> Rows:
    """The one place of rows in operands that are broadcast to `rank` axes; the last `skip` axes of
    each do not take part."""
    place: Rows | None = None
    present = [position for position in positions if view.has(position)]
    for position in present:
        rows = view.rows(position)
        if rows is None:
            continue
        moved = Rows(rows.axis + rank - len(view.shape(position)), rows.each)
        if place is not None and moved != place:
            raise Mixes(f"rows on axis {place.axis} meet rows on axis {moved.axis}")
        place = moved
    if place is None or place.axis >= rank - skip:
        raise Mixes("rows lie on an axis that it works over")
    for position in present:
        if view.state(position) == SIZED:
            name = view.node.inputs[position]
            raise Mixes(f"the value of {name!r} depends on the number of rows")
        if view.rows(position) is None:
            shape = view.shape(position)
            at = place.axis - rank + len(shape)
            if at >= 0 and shape[at] != 1:
                raise Mixes(
                    f"{view.node.inputs[position]!r} gives each row of the batch its own value"
                )
    return place


def _elementwise(view: View) -> _Result:
    positions = [i for i in range(len(view.node.inputs)) if view.has(i)]
    return _align(view, positions, max(len(view.shape(i)) for i in positions))


def _first_only(view: View) -> Rows:
    view.only(0)
    rows = view.rows(0)
    if rows is None:
        raise Mixes("its rows come from another input than the first")
    return rows


def _on_axis_zero(view: View) -> _Result:
    """Ops that work on each element of axis 0 by itself; parameters are shared."""
    rows = _first_only(view)
    if rows.axis != 0:
        raise Mixes(f"rows lie on axis {rows.axis}, not 0")
    return rows


def _pool(view: View) -> _Result:
    _on_axis_zero(view)
    if len(view.node.outputs) > 1 and view.node.outputs[1]:
        raise Mixes("its indices count through the whole batch")
    return Rows(0)


def _avoids(axes: Iterable[int], rows: Rows, what: str) -> None:
    if rows.axis in axes:
        raise Mixes(f"it {what} over axis {rows.axis}, where the rows are")


def _given_axes(view: View, position: int) -> list[int] | None:
    if "axes" in view.node.attributes:
        return list(view.node.attributes["axes"])
    if not view.has(position):
        return None
    axes = view.ints(position)
    if axes is None:
        raise Mixes("its axes are not known")
    return axes


def _reduce(view: View) -> _Result:
    rows = _first_only(view)
    rank = len(view.shape(0))
    if view.node.op in {"ArgMax", "ArgMin"}:
        axes: list[int] | None = [view.node.attributes.get("axis", 0)]
    else:
        axes = _given_axes(view, 1)
    if not axes:
        if view.node.attributes.get("noop_with_empty_axes"):
            return rows
        axes = list(range(rank))
    counted = {view.axis(axis, rank) for axis in axes}
    _avoids(counted, rows, "reduces")
    if view.node.attributes.get("keepdims", 1):
        return rows
    return Rows(rows.axis - sum(axis < rows.axis for axis in counted), rows.each)


def _softmax(view: View) -> _Result:
    rows = _first_only(view)
    rank = len(view.shape(0))
    if view.opset < 13:  # over all axes from this one on
        first = view.axis(view.node.attributes.get("axis", 1), rank)
        _avoids(range(first, rank), rows, "normalizes")
    else:
        axis = view.axis(view.node.attributes.get("axis", -1), rank)
        _avoids([axis], rows, "normalizes")
    return rows


def _layer_norm(view: View) -> _Result:
    rows = _first_only(view)
    rank = len(view.shape(0))
    first = view.axis(view.node.attributes.get("axis", -1), rank)
    _avoids(range(first, rank), rows, "normalizes")
    return rows


def _batch_norm(view: View) -> _Result:
    if view.node.attributes.get("training_mode"):
        raise Mixes("it computes statistics of the batch (training_mode)")
    rows = _first_only(view)
    _avoids([1], rows, "has parameters")
    return rows


def _along(default: int) -> _Rule:
    """Ops that work along one axis, given as an attribute, and keep the shape's rank."""

    def rule(view: View) -> _Result:
        rows = _first_only(view)
        axis = view.node.attributes.get("axis", default)
        _avoids([view.axis(axis, len(view.shape(0)))], rows, "works")
        return rows

    return rule


def _matmul(view: View) -> _Result:
    a, b = view.shape(0), view.shape(1)
    view.only(0, 1)
    left, right = view.rows(0), view.rows(1)
    rank = max(len(a), len(b), 2)
    if left is not None and right is None and left.axis == len(a) - 2 and len(a) > 1:
        return Rows(left.axis if len(b) == 1 else rank - 2, left.each)
    if right is not None and left is None and right.axis == len(b) - 1 and len(b) > 1:
        return Rows(rank - (1 if len(a) > 1 else 2), right.each)
    if min(len(a), len(b)) < 2:
        place = left or right
        on = a if left is not None else b
        if place is not None and place.axis < len(on) - 2:
            return place
        raise Mixes("it sums over the rows")
    return _align(view, (0, 1), rank, skip=2)


def _gemm(view: View) -> _Result:
    view.only(0, 1, 2)
    place: Rows | None = None
    for position, flag, kept, out in ((0, "transA", 0, 0), (1, "transB", 1, 1)):
        rows = view.rows(position)
        if rows is None:
            continue
        axis = 1 - rows.axis if view.node.attributes.get(flag) else rows.axis
        if axis != kept or place is not None:
            raise Mixes("it sums over the rows")
        place = Rows(out, rows.each)
    if not view.has(2):
        return place or SHARED
    shape = view.shape(2)
    rows = view.rows(2)
    if rows is not None:
        moved = Rows(rows.axis + 2 - len(shape), rows.each)
        if place is None or moved != place:
            raise Mixes("rows of C are not those of A")
    elif place is not None:
        at = place.axis - 2 + len(shape)
        if at >= 0 and shape[at] != 1:
            raise Mixes("C gives each row of the batch its own value")
    return place or SHARED


def _transpose(view: View) -> _Result:
    rows = _first_only(view)
    rank = len(view.shape(0))
    perm = view.node.attributes.get("perm") or tuple(reversed(range(rank)))
    return Rows(list(perm).index(rows.axis), rows.each)


def _reshape(view: View) -> _Result:
    rows = view.rows(0)
    if rows is None:
        raise Mixes("its shape depends on the values of rows")
    return where_rows_are(view.shape(0), rows, view.out_shape())


def _dropout(view: View) -> _Result:
    training = view.known(2)
    if view.has(2) and (training is None or training.flat[0]):
        raise Mixes("it may drop values at random (training_mode)")
    return _first_only(view)


def _concat(view: View) -> _Result:
    rank = len(view.shape(0))
    axis = view.axis(view.node.attributes["axis"], rank)
    place: Rows | None = None
    for position in range(len(view.node.inputs)):
        rows = view.rows(position)
        if rows is None:
            name = view.node.inputs[position]
            raise Mixes(f"{name!r} beside the rows has none")
        if place is not None and rows != place:
            raise Mixes(f"rows on axis {place.axis} meet rows on axis {rows.axis}")
        place = rows
    if place is None or place.axis == axis:
        raise Mixes(f"it joins along axis {axis}, where the rows are")
    return place


def _split(view: View) -> _Result:
    rows = _first_only(view)
    axis = view.axis(view.node.attributes.get("axis", 0), len(view.shape(0)))
    _avoids([axis], rows, "splits")
    return rows


def _slice(view: View) -> _Result:
    rows = view.rows(0)
    if rows is None or any(isinstance(view.state(i), Rows) for i in range(1, len(view.states))):
        raise Mixes("what it cuts depends on rows")
    shape, out = view.shape(0), view.out_shape()
    if out[rows.axis] != shape[rows.axis]:
        raise Mixes(f"it cuts axis {rows.axis}, where the rows are")
    steps = view.ints(4) if view.has(4) else []
    if steps is None or any(step < 0 for step in steps):
        axes = _given_axes(view, 3)
        counted = range(len(shape)) if axes is None else [view.axis(a, len(shape)) for a in axes]
        _avoids(counted, rows, "reverses or skips")
    return rows


def _gather(view: View) -> _Result:
    data, indices = view.rows(0), view.rows(1)
    if SIZED in (view.state(0), view.state(1)):
        raise Mixes("what it takes depends on the number of rows")
    axis = view.axis(view.node.attributes.get("axis", 0), len(view.shape(0)))
    if data is not None and indices is not None:
        raise Mixes("rows choose among rows")
    if indices is not None:
        return Rows(axis + indices.axis, indices.each)
    assert data is not None
    _avoids([axis], data, "gathers")
    if data.axis < axis:
        return data
    return Rows(data.axis + len(view.shape(1)) - 1, data.each)


def _by_element(view: View) -> _Result:
    """GatherElements and ScatterElements: every operand has its rows on the same axis."""
    place = _first_only_of_all(view)
    axis = view.axis(view.node.attributes.get("axis", 0), len(view.shape(0)))
    _avoids([axis], place, "works")
    return place


def _first_only_of_all(view: View) -> Rows:
    states = {state for i, state in enumerate(view.states) if view.has(i)}
    place = states.pop()
    if states or not isinstance(place, Rows):
        raise Mixes("not all of its inputs have the same rows")
    return place


def _gather_nd(view: View) -> _Result:
    data, indices = view.rows(0), view.rows(1)
    if data is None and indices is not None and view.state(0) == SHARED:
        if indices.axis < len(view.shape(1)) - 1 and not view.node.attributes.get("batch_dims"):
            return indices
        raise Mixes("its indices lie across rows")
    if (
        data is not None
        and data == indices
        and data.axis < view.node.attributes.get("batch_dims", 0)
    ):
        return data
    raise Mixes("rows choose among rows")


def _expand(view: View) -> _Result:
    rows = view.rows(0)
    target = view.known(1)
    if rows is None or target is None:
        raise Mixes("the shape that it expands to is not known")
    rank = max(len(view.shape(0)), target.size)
    at = rows.axis + rank - len(view.shape(0))
    wanted = target.flat[at - rank + target.size] if at - rank + target.size >= 0 else 1
    if wanted not in (1, dims.multiply(BATCH, rows.each)):
        raise Mixes("it repeats rows")
    return Rows(at, rows.each)


def _tile(view: View) -> _Result:
    rows = view.rows(0)
    repeats = view.known(1)
    if rows is None or repeats is None or repeats.flat[rows.axis] != 1:
        raise Mixes("it repeats rows")
    return rows


def _keeps_axis(view: View) -> _Result:
    """Pad and Resize: the axis of the rows keeps its size, which means that it is left alone."""
    rows = view.rows(0)
    if rows is None or any(isinstance(view.state(i), Rows) for i in range(1, len(view.states))):
        raise Mixes("what it does depends on rows")
    if view.node.op == "Pad":
        pads = view.known(1)
        if view.has(1) and (pads is None or view.has(3)):
            raise Mixes("how it pads is not known")
        sizes = view.node.attributes.get("pads", () if pads is None else tuple(pads.flat))
        rank = len(view.shape(0))
        if len(sizes) != 2 * rank or sizes[rows.axis] != 0 or sizes[rows.axis + rank] != 0:
            raise Mixes(f"it pads axis {rows.axis}, where the rows are")
    if view.out_shape()[rows.axis] != view.shape(0)[rows.axis]:
        raise Mixes(f"it resizes axis {rows.axis}, where the rows are")
    return rows


def _cumulative(view: View) -> _Result:
    rows = _first_only(view)
    axis = view.ints(1)
    if axis is None:
        raise Mixes("its axis is not known")
    _avoids([view.axis(axis[0], len(view.shape(0)))], rows, "sums")
    return rows


def _one_hot(view: View) -> _Result:
    rows = _first_only(view)
    rank = len(view.shape(0)) + 1
    axis = view.axis(view.node.attributes.get("axis", -1), rank)
    return Rows(rows.axis + (axis <= rows.axis), rows.each)


def _recurrent(view: View) -> _Result:
    by_row = bool(view.node.attributes.get("layout"))
    batch = 0 if by_row else 1
    view.only(0, 4, 5, 6)
    if view.rows(0) != Rows(batch):
        raise Mixes(f"its rows are not on axis {batch}: it runs through time along them")
    for position, axis in ((4, 0), (5, batch), (6, batch)):
        if view.has(position) and view.rows(position) != Rows(axis):
            name = view.node.inputs[position]
            raise Mixes(f"{name!r} does not have its rows on axis {axis}")
    places: list[State] = [Rows(0 if by_row else 2), Rows(batch), Rows(batch)]
    return places[: len(view.node.outputs)]


def _attention(view: View) -> _Result:
    for position in range(len(view.node.inputs)):
        if not view.has(position) or view.rows(position) == Rows(0):
            continue
        mask = position == 3 and view.state(3) == SHARED
        if not mask or (len(view.shape(3)) == 4 and view.shape(3)[0] != 1):
            raise Mixes(f"{view.node.inputs[position]!r} does not have its rows on axis 0")
    return Rows(0)


def _einsum(view: View) -> _Result:
    equation = view.node.attributes["equation"].decode("ascii", "replace").replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if not arrow or "." in equation or len(terms) != len(view.states):
        raise Mixes(f"equation {equation!r} is not followed")
    letters = {
        terms[i][state.axis] for i, state in enumerate(view.states) if isinstance(state, Rows)
    }
    letter = letters.pop()
    whole = all(view.state(i) != SIZED for i in range(len(terms)))
    for position, term in enumerate(terms):
        if term.count(letter) != (1 if isinstance(view.state(position), Rows) else 0):
            whole = False
    sizes = {state.each for state in view.states if isinstance(state, Rows)}
    if letters or not whole or right.count(letter) != 1 or len(sizes) != 1:
        raise Mixes("it sums over the rows, or pairs them with others")
    return Rows(right.index(letter), sizes.pop())


def _quantize(view: View) -> _Result:
    rows = _first_only(view)
    shape = view.shape(1)
    axis = view.node.attributes.get("axis", 1)
    if len(shape) > 1 or (shape and shape[0] != 1 and axis % len(view.shape(0)) == rows.axis):
        raise Mixes("it has a scale for each row of the batch")
    return rows


def _reverse_sequence(view: View) -> _Result:
    batch = view.node.attributes.get("batch_axis", 1)
    if view.rows(0) != Rows(batch) or view.rows(1) != Rows(0):
        raise Mixes(f"its rows are not on axis {batch}")
    return Rows(batch)


def _grid_sample(view: View) -> _Result:
    if view.rows(0) != Rows(0) or view.rows(1) != Rows(0):
        raise Mixes("image and grid do not both have their rows on axis 0")
    return Rows(0)


def _trilu(view: View) -> _Result:
    rows = _first_only(view)
    rank = len(view.shape(0))
    _avoids([rank - 2, rank - 1], rows, "works")
    return rows


def _shape(_view: View) -> _Result:
    return SIZED  # where its value is known not to depend on the rows, it counts as shared


_ZERO: Final = (
    "Conv ConvTranspose ConvInteger QLinearConv DeformConv GlobalAveragePool GlobalMaxPool "
    "GlobalLpPool AveragePool LpPool InstanceNormalization GroupNormalization LRN DepthToSpace "
    "SpaceToDepth Col2Im"
)
_REDUCTIONS: Final = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare"
#: ai.onnx.ml: each row of a table by itself.
_TABLES: Final = (
    "TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor LinearClassifier LinearRegressor "
    "SVMClassifier SVMRegressor Scaler Normalizer Imputer Binarizer ArrayFeatureExtractor "
    "OneHotEncoder LabelEncoder CategoryMapper"
)
RULES: Final[Mapping[tuple[str, str], _Rule]] = {
    ("", "Shape"): _shape,
    ("", "Size"): _shape,
    **{("", op): _elementwise for op in ELEMENTWISE},
    **{("", op): _on_axis_zero for op in _ZERO.split()},
    **{("", f"Reduce{op}"): _reduce for op in _REDUCTIONS.split()},
    **{("ai.onnx.ml", op): _on_axis_zero for op in _TABLES.split()},
    **{("", op): _reshape for op in ("Reshape", "Flatten", "Squeeze", "Unsqueeze")},
    **{("", op): _softmax for op in ("Softmax", "LogSoftmax", "Hardmax")},
    **{("", op): _layer_norm for op in ("LayerNormalization", "RMSNormalization")},
    **{("", op): _recurrent for op in ("LSTM", "GRU", "RNN")},
    **{("", op): _quantize for op in ("QuantizeLinear", "DequantizeLinear")},
    **{("", op): _by_element for op in ("GatherElements", "ScatterElements")},
    **{("", op): _keeps_axis for op in ("Pad", "Resize", "Upsample")},
    ("", "ArgMax"): _reduce,
    ("", "ArgMin"): _reduce,
    ("", "Attention"): _attention,
    ("", "BatchNormalization"): _batch_norm,
    ("", "Concat"): _concat,
    ("", "CumSum"): _cumulative,
    ("", "Dropout"): _dropout,
    ("", "Einsum"): _einsum,
    ("", "Expand"): _expand,
    ("", "Gather"): _gather,
    ("", "GatherND"): _gather_nd,
    ("", "Gemm"): _gemm,
    ("", "GridSample"): _grid_sample,
    ("", "LpNormalization"): _along(-1),
    ("", "MatMul"): _matmul,
    ("", "MatMulInteger"): _matmul,
    ("", "MaxPool"): _pool,
    ("", "OneHot"): _one_hot,
    ("", "ReverseSequence"): _reverse_sequence,
    ("", "Slice"): _slice,
    ("", "Split"): _split,
    ("", "Tile"): _tile,
    ("", "TopK"): _along(-1),
    ("", "Transpose"): _transpose,
    ("", "Trilu"): _trilu,
}
