"""Whether rows of different callers may share a batch, proved on the graph.

Models declare a batch axis and do not honour it: a maximum over all axes, time on axis 0, a state
whose batch is on axis 1, one answer for N rows. So the axis is followed from the inputs through
every node to the outputs. `Rows(axis)` of a value means: its part i depends on the parts i of the
inputs alone. What no rule shows to be so counts as mixing.

Which axis of which input is the batch is not declared either: sensible choices are tried, those
that batch most inputs first, and the first one under which every output has rows holds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pelton.compiler.onnx import dims
from pelton.compiler.onnx._batch_rules import RULES, spread
from pelton.compiler.onnx._batch_states import (
    BATCH,
    SHARED,
    SIZED,
    Mixed,
    Mixes,
    Rows,
    State,
    View,
    depends_on_batch,
)
from pelton.compiler.onnx.dims import Dim, Expr
from pelton.compiler.onnx.graph import Graph, Node, OnnxModel, Shape, TensorType, Value
from pelton.compiler.onnx.shapes import Inference, infer

__all__ = ["BatchVerdict", "batch_axes", "follow"]

#: Choices of axes that are tried at most; each costs one pass of inference.
_CHOICES_MAX: Final = 12
_RANDOM: Final = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
    | {"Bernoulli", "Multinomial"}
)


@dataclass(frozen=True)
class BatchVerdict:
    """What the analysis found.

    `inputs` and `outputs` give the batch axis of each by name; None means that it has none: such an
    input is shared by the requests of a batch, which must all have equal values of it. Where rows
    may not be batched both are None, and `node` (empty where no one node is to blame), `op` and
    `reason` say why.
    """

    inputs: Mapping[str, int | None] | None
    outputs: Mapping[str, int | None] | None
    node: str = ""
    op: str = ""
    reason: str = ""

    @property
    def proved(self) -> bool:
        """Whether rows of different callers may share a batch."""
        return self.inputs is not None

    @property
    def shared(self) -> tuple[str, ...]:
        """The inputs that must be equal among the requests of a batch."""
        return tuple(name for name, axis in (self.inputs or {}).items() if axis is None)


def batch_axes(model: OnnxModel, sizes: Mapping[str, int] | None = None) -> BatchVerdict:
    """The verdict on a model. Its functions should be inlined: ops without a rule mix.

    `sizes` fixes free sizes by their names: some models work on rows one by one only for certain
    lengths of them, and the verdict then holds for those.
    """
    model = _with_sizes(model, sizes or {})
    others = [v.name for v in model.graph.inputs if v.shape is None]
    if others:
        reason = f"the input {others[0]!r} is no tensor of known rank"
        return BatchVerdict(None, None, reason=reason)
    first: BatchVerdict | None = None
    for choice in itertools.islice(_choices(model.graph.inputs), _CHOICES_MAX):
        verdict = follow(model, choice)
        if verdict.proved:
            return verdict
        first = first or verdict
    return first or BatchVerdict(None, None, reason="no input has an axis of free size")


def follow(model: OnnxModel, axes: Mapping[str, int]) -> BatchVerdict:
    """The verdict for a batch on these axes of the inputs named; all other inputs are shared."""
    shapes: dict[str, Shape] = {}
    states: dict[str, State] = {}
    for value in model.graph.inputs:
        shape = value.shape or ()
        if value.name in axes:
            axis = axes[value.name]
            shapes[value.name] = (*shape[:axis], BATCH, *shape[axis + 1 :])
            states[value.name] = Rows(axis)
        else:
            states[value.name] = SHARED
    _Follower(model, infer(model, shapes), states).graph(model.graph)
    found: dict[str, int | None] = {}
    for output in model.graph.outputs:
        state = states.get(output.name, SHARED)
        if isinstance(state, Rows) and state.each != 1:
            state = Mixed(None, f"it has {state.each} rows for each row of the inputs")
        if state == SIZED:
            state = Mixed(None, "it depends on the number of rows")
        if isinstance(state, Mixed):
            node = state.node or model.graph.producers.get(output.name)
            reason = f"output {output.name!r}: {state.reason}"
            if node is None:
                return BatchVerdict(None, None, reason=reason)
            name = node.name or ",".join(node.outputs)
            return BatchVerdict(None, None, name, node.op, reason)
        found[output.name] = state.axis if isinstance(state, Rows) else None
    if all(axis is None for axis in found.values()):
        return BatchVerdict(None, None, reason="no output has rows")
    return BatchVerdict({v.name: axes.get(v.name) for v in model.graph.inputs}, found)


def _with_sizes(model: OnnxModel, sizes: Mapping[str, int]) -> OnnxModel:
    inputs = []
    for value in model.graph.inputs:
        kind = value.type
        if isinstance(kind, TensorType) and kind.shape is not None:
            kind = TensorType(kind.dtype, tuple(sizes.get(str(dim), dim) for dim in kind.shape))
        inputs.append(Value(value.name, kind))
    return model.replace(graph=model.graph.replace(inputs=tuple(inputs)))


def _choices(inputs: tuple[Value, ...]) -> Iterator[dict[str, int]]:
    """Which axes the batch may be on, likely ones first, none twice."""
    seen: list[dict[str, int]] = []
    for axes in _all_choices(inputs):
        if axes and axes not in seen:
            seen.append(axes)
            yield axes


def _all_choices(inputs: tuple[Value, ...]) -> Iterator[dict[str, int]]:
    free = {v.name: [i for i, d in enumerate(v.shape or ()) if isinstance(d, Expr)] for v in inputs}
    # One declared name, wherever it is: `batch` on axis 0 of the data and axis 1 of the state.
    names: dict[Dim, dict[str, int]] = {}
    for value in inputs:
        for axis in free[value.name]:
            dim = (value.shape or ())[axis]
            names.setdefault(dim, {}).setdefault(value.name, axis)
    zero = {name: 0 for name, axes in free.items() if 0 in axes}
    first = {name: axes[0] for name, axes in free.items() if axes}
    by_name = sorted(
        names.values(),
        key=lambda axes: (-sum(axis == 0 for axis in axes.values()), -len(axes)),
    )
    # Names that are on axis 0 of every input with a free size there; then every first free axis.
    yield from (axes for axes in by_name if axes.keys() >= zero.keys() and 0 in axes.values())
    yield first
    yield zero
    yield from by_name
    # Some of the inputs shared, most batched first.
    for count in range(len(first) - 1, 0, -1):
        for chosen in itertools.combinations(first, count):
            yield {name: first[name] for name in chosen}


class _Follower:
    def __init__(self, model: OnnxModel, found: Inference, states: dict[str, State]) -> None:
        self._found = found
        self._states = states
        self._opsets = model.opsets

    def graph(self, graph: Graph) -> None:
        for name in graph.initializers:
            self._states[name] = SHARED
        for node in graph.nodes:
            states = tuple(self._node(node))
            if len(states) != len(node.outputs):
                reason = f"it has {len(node.outputs)} outputs, where {len(states)} are known"
                states = (Mixed(node, reason),) * len(node.outputs)
            for name, state in zip(node.outputs, states, strict=True):
                if name:
                    self._states[name] = self._checked(node, name, state)

    def _checked(self, node: Node, name: str, state: State) -> State:
        """A state against what inference says of the value itself."""
        known = self._found.known.get(name)
        if known is not None and isinstance(state, (Rows, type(SIZED))):
            # Made of sizes: it depends on no row, and on the number of rows only where that shows.
            return SIZED if any(_sized(item) for item in known.flat) else SHARED
        shape = self._found.shape(name)
        if not isinstance(state, Rows) or shape is None:
            return state
        if state.axis >= len(shape):
            return Mixed(node, f"axis {state.axis} is outside its rank {len(shape)}")
        if any(depends_on_batch(d) for i, d in enumerate(shape) if i != state.axis):
            return Mixed(node, "the shape of a row depends on the number of rows")
        if shape[state.axis] != dims.multiply(BATCH, state.each):
            return Mixed(
                node, f"axis {state.axis} has the size {shape[state.axis]}, not the batch's"
            )
        return state

    def _node(self, node: Node) -> list[State]:
        states = [self._states.get(name, SHARED) if name else SHARED for name in node.inputs]
        everything = [*states, *(self._states.get(name, SHARED) for name in node.uses)]
        count = len(node.outputs)
        mixed = next((state for state in everything if isinstance(state, Mixed)), None)
        if mixed is not None:
            return [mixed] * count
        if not node.domain and node.op in _RANDOM:
            return [Mixed(node, f"{node} draws random numbers")] * count
        if all(state == SHARED for state in everything):
            return [SHARED] * count
        try:
            if not node.domain and node.op in {"If", "Loop", "Scan"}:
                return {"If": self._if, "Loop": self._loop, "Scan": self._scan}[node.op](node)
            result = self._rule(node, states)
        except Mixes as mixes:
            return [Mixed(node, f"{node}: {mixes}")] * count
        except (IndexError, KeyError, ValueError, TypeError):
            return [Mixed(node, f"{node}: its form is not known")] * count
        return result if isinstance(result, list) else [result] * count

    def _rule(self, node: Node, states: list[State]) -> State | list[State]:
        opset = self._opsets.get(node.domain, 1)
        if not any(isinstance(state, Rows) for state in states):
            return self._spread(node, states)
        rule = RULES.get((node.domain, node.op))
        if rule is None:
            raise Mixes("it is not known whether this op keeps rows apart")
        return rule(View(node, states, self._found, opset))

    def _spread(self, node: Node, states: list[State]) -> State:
        """No rows come in, but their number does: constants may be repeated for each row."""
        if node.op not in {"ConstantOfShape", "Expand"} or node.domain:
            return SIZED
        at = node.inputs[-1]
        target = self._found.known.get(at)
        if target is None or (node.op == "Expand" and states[0] != SHARED):
            return SIZED
        source = self._found.shape(node.inputs[0]) if node.op == "Expand" else None
        if node.op == "Expand" and source is None:
            return SIZED
        shape = self._found.shape(node.outputs[0])
        return spread(source, shape if shape is not None else tuple(target))

    def _if(self, node: Node) -> list[State]:
        condition = self._states.get(node.inputs[0], SHARED)
        if condition != SHARED:
            what = "rows" if isinstance(condition, Rows) else "the number of rows"
            raise Mixes(f"which branch runs depends on {what}")
        branches = [node.attributes["then_branch"], node.attributes["else_branch"]]
        known = self._found.known.get(node.inputs[0])
        if known is not None:
            branches = [branches[0 if known.flat[0] else 1]]
        for branch in branches:
            self.graph(branch)
        result: list[State] = []
        for position in range(len(node.outputs)):
            found = {self._states.get(branch.outputs[position].name, SHARED) for branch in branches}
            mixed = next((state for state in found if isinstance(state, Mixed)), None)
            if len(found) > 1 and mixed is None:
                mixed = Mixed(node, f"{node}: its branches have their rows in different places")
            result.append(mixed or found.pop())
        return result

    def _loop(self, node: Node) -> list[State]:
        body: Graph = node.attributes["body"]
        if any(self._states.get(name, SHARED) != SHARED for name in node.inputs[:2] if name):
            raise Mixes("how often it runs depends on rows or their number")
        carried = [self._states.get(name, SHARED) for name in node.inputs[2:]]
        self._states[body.inputs[0].name] = self._states[body.inputs[1].name] = SHARED
        self._settle(body, body.inputs[2:], body.outputs[1 : 1 + len(carried)], carried)
        if self._states.get(body.outputs[0].name, SHARED) != SHARED:
            raise Mixes("when it ends depends on rows or their number")
        return [*carried, *self._stacked(body.outputs[1 + len(carried) :], 0)]

    def _scan(self, node: Node) -> list[State]:
        body: Graph = node.attributes["body"]
        slices = node.attributes["num_scan_inputs"]
        moved = ("scan_input_axes", "scan_output_axes")
        if any(any(node.attributes.get(name, ())) for name in moved) or self._opsets[""] < 9:
            raise Mixes("its axes are not followed")
        count = len(node.inputs) - slices
        carried = [self._states.get(name, SHARED) for name in node.inputs[:count]]
        for value, name in zip(body.inputs[count:], node.inputs[count:], strict=True):
            state = self._states.get(name, SHARED)
            if isinstance(state, Rows):
                if state.axis == 0:
                    raise Mixes("it runs along the rows")
                state = Rows(state.axis - 1, state.each)
            self._states[value.name] = state
        self._settle(body, body.inputs[:count], body.outputs[:count], carried)
        return [*carried, *self._stacked(body.outputs[count:], 0)]

    def _settle(
        self,
        body: Graph,
        inputs: tuple[Value, ...],
        outputs: tuple[Value, ...],
        states: list[State],
    ) -> None:
        """Follows a body with these states coming in, which must come out again."""
        for value, state in zip(inputs, states, strict=True):
            self._states[value.name] = state
        self.graph(body)
        for value, state in zip(outputs, states, strict=True):
            after = self._states.get(value.name, SHARED)
            if isinstance(after, Mixed):
                raise Mixes(after.reason)
            if after != state:
                raise Mixes("what it carries from round to round changes where its rows are")

    def _stacked(self, values: tuple[Value, ...], axis: int) -> list[State]:
        result = []
        for value in values:
            state = self._states.get(value.name, SHARED)
            if isinstance(state, Rows):
                state = Rows(state.axis + (axis <= state.axis), state.each)
            result.append(state)
        return result


def _sized(item: object) -> bool:
    return isinstance(item, (int, Expr)) and depends_on_batch(item)
