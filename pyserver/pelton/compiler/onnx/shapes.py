"""Types of every value of a model, with sizes as expressions over the sizes of its inputs.

One pass over the nodes in order. What a graph computes from shapes is followed as values
(`_known`), sizes by rules of our own where a name is involved (`_sizes`), everything else by
onnx (`_onnx_types`), asked node by node. Subgraphs are followed with the types that reach them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pelton.compiler.onnx import dims
from pelton.compiler.onnx._known import Known, evaluate, known_of
from pelton.compiler.onnx._onnx_types import OnnxTypes
from pelton.compiler.onnx._sizes import ELEMENTWISE, RULES
from pelton.compiler.onnx.dims import Dim, Expr
from pelton.compiler.onnx.graph import Graph, Node, OnnxModel, Shape, TensorType, Type, Value
from pelton.compiler.onnx.tensors import Tensor

__all__ = ["Inference", "infer", "with_types"]

_LOOP_ROUNDS: Final = 3
_BOOLEAN: Final = frozenset(
    {"And", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual"}
    | {"Not", "Or", "Xor"}
)
_CASTS: Final = frozenset({"Cast", "CastLike"})


@dataclass
class Inference:
    """What was found, by the names of values of the model and of all graphs inside it.

    `known` holds values that are integers made of sizes; `problems` onnx's complaints by node.
    """

    types: dict[str, Type | None] = field(default_factory=dict)
    known: dict[str, Known] = field(default_factory=dict)
    problems: dict[Node, str] = field(default_factory=dict)

    def shape(self, name: str) -> Shape | None:
        """The shape of a tensor; None where its rank is unknown."""
        found = self.types.get(name)
        return found.shape if isinstance(found, TensorType) else None

    def dtype(self, name: str) -> str | None:
        """The element type of a tensor; None where it is unknown."""
        found = self.types.get(name)
        return found.dtype if isinstance(found, TensorType) else None


def infer(model: OnnxModel, inputs: Mapping[str, Shape] | None = None) -> Inference:
    """The types of all values. `inputs` gives other shapes to some of the model's inputs; what the
    file declares of other values then counts only where nothing can be inferred."""
    result = Inference()
    for value in model.graph.inputs:
        kind = value.type
        if inputs is not None and value.name in inputs and isinstance(kind, TensorType):
            kind = TensorType(kind.dtype, inputs[value.name])
        result.types[value.name] = kind
    _Pass(model, result).graph(model.graph)
    return result


def with_types(model: OnnxModel) -> OnnxModel:
    """The model with the inferred types of its main graph's values in `values` and `outputs`."""
    found = infer(model)
    graph = model.graph
    values = {
        name: Value(name, found.types[name])
        for node in graph.nodes
        for name in node.outputs
        if name and found.types.get(name) is not None
    }
    outputs = tuple(Value(v.name, _better(v.type, found.types.get(v.name))) for v in graph.outputs)
    return model.replace(graph=graph.replace(values=values, outputs=outputs))


def _better(declared: Type | None, found: Type | None) -> Type | None:
    """What is inferred, with the declared names and sizes where inference has only its own."""
    if not isinstance(declared, TensorType) or not isinstance(found, TensorType):
        return found if declared is None else declared
    if declared.shape is None or found.shape is None or len(declared.shape) != len(found.shape):
        return TensorType(found.dtype, found.shape if found.shape is not None else declared.shape)
    pairs = zip(declared.shape, found.shape, strict=True)
    return TensorType(found.dtype, tuple(d if dims.contains(f, "?") else f for d, f in pairs))


class _Pass:
    def __init__(self, model: OnnxModel, result: Inference) -> None:
        self._onnx = OnnxTypes(model.opsets, model.ir_version)
        self._types = result.types
        self._known = result.known
        self._problems = result.problems

    def graph(self, graph: Graph) -> None:
        for name, tensor in graph.initializers.items():
            self._constant(name, tensor)
        declared = {**graph.values, **{value.name: value for value in graph.outputs}}
        for node in graph.nodes:
            self._node(node)
            for name in node.outputs:
                kind = self._types.get(name)
                if kind is None or (isinstance(kind, TensorType) and kind.shape is None):
                    self._types[name] = self._declared(declared.get(name), kind)

    def _declared(self, value: Value | None, found: Type | None) -> Type | None:
        if value is None or value.type is None:
            return found
        if isinstance(found, TensorType) and value.shape is None:
            return found
        return value.type

    def _constant(self, name: str, tensor: Tensor) -> None:
        self._types[name] = TensorType(tensor.dtype, tensor.shape)
        known = known_of(tensor)
        if known is not None:
            self._known[name] = known

    def _node(self, node: Node) -> None:
        if not node.domain and node.op in {"If", "Loop", "Scan"}:
            {"If": self._if, "Loop": self._loop, "Scan": self._scan}[node.op](node)
            return
        value = node.attributes.get("value")
        if node.op == "Constant" and isinstance(value, Tensor):
            self._constant(node.outputs[0], value)
            return
        types = [self._types.get(name) if name else None for name in node.inputs]
        knowns = [self._known.get(name) if name else None for name in node.inputs]
        found = self._rule(node, types, knowns)
        if found is None:
            found, problem = self._onnx.outputs(node, types, knowns)
            if problem:
                self._problems[node] = problem
            self._refine(node, found, types, knowns)
        for name, kind in zip(node.outputs, found, strict=True):
            if name:
                self._types[name] = kind
        shapes = [kind.shape if isinstance(kind, TensorType) else None for kind in types]
        first = types[0] if types else None
        is_float = isinstance(first, TensorType) and first.dtype.startswith(("FP", "BF"))
        for name, known in zip(node.outputs, evaluate(node, knowns, shapes, is_float), strict=True):
            if name and known is not None:
                self._known[name] = known

    def _rule(
        self, node: Node, types: Sequence[Type | None], knowns: Sequence[Known | None]
    ) -> list[Type | None] | None:
        """Elementwise ops need nothing of onnx: they are most of a graph."""
        if node.domain or node.op not in ELEMENTWISE or len(node.outputs) != 1 or not types:
            return None
        first = types[1] if node.op == "Where" and len(types) == 3 else types[0]
        if not isinstance(first, TensorType) or node.op in _CASTS:
            return None
        shape = RULES[node.op](node, self._shapes(types), knowns)
        if shape is None:
            return None
        return [TensorType("BOOL" if node.op in _BOOLEAN else first.dtype, shape)]

    def _refine(
        self,
        node: Node,
        found: list[Type | None],
        types: Sequence[Type | None],
        knowns: Sequence[Known | None],
    ) -> None:
        rule = RULES.get(node.op) if not node.domain else None
        if rule is None or not found or not isinstance(found[0], TensorType):
            return
        had = found[0].shape
        if had is not None and not any(isinstance(dim, Expr) for dim in had):
            return
        try:
            shape = rule(node, self._shapes(types), knowns)
        except (IndexError, ValueError, TypeError, ZeroDivisionError):
            return  # a node that onnx accepts and the rule does not understand
        if shape is None:
            return
        if had is not None and len(had) == len(shape):
            pairs = zip(had, shape, strict=True)
            shape = tuple(old if isinstance(old, int) else new for old, new in pairs)
        found[0] = TensorType(found[0].dtype, shape)

    @staticmethod
    def _shapes(types: Sequence[Type | None]) -> list[Shape | None]:
        return [kind.shape if isinstance(kind, TensorType) else None for kind in types]

    def _if(self, node: Node) -> None:
        for graph in node.subgraphs:
            self.graph(graph)
        for position, name in enumerate(node.outputs):
            results = [
                g.outputs[position].name for g in node.subgraphs if position < len(g.outputs)
            ]
            if not name or len(results) != 2:
                continue
            kinds = [self._types.get(result) for result in results]
            condition = self._known.get(node.inputs[0])
            if condition is not None:
                branches = [node.attributes["then_branch"], node.attributes["else_branch"]]
                taken = branches[0 if condition.flat[0] else 1].outputs[position].name
                self._types[name] = self._types.get(taken)
                if taken in self._known:
                    self._known[name] = self._known[taken]
                continue
            self._types[name] = _either(kinds[0], kinds[1], name)

    def _loop(self, node: Node) -> None:
        body = node.attributes["body"]
        count = len(node.inputs) - 2
        carried = [self._types.get(name) for name in node.inputs[2:]]
        self._types[body.inputs[0].name] = TensorType("INT64", ())
        self._types[body.inputs[1].name] = TensorType("BOOL", ())
        carried = self._settle(body, body.inputs[2:], body.outputs[1 : 1 + count], carried)
        for name, kind in zip(node.outputs, carried, strict=False):
            self._types[name] = kind
        for name, value in zip(node.outputs[count:], body.outputs[1 + count :], strict=False):
            self._types[name] = _stacked(self._types.get(value.name), 0, dims.fresh(name))

    def _scan(self, node: Node) -> None:
        body = node.attributes["body"]
        slices = node.attributes["num_scan_inputs"]
        count = len(node.inputs) - slices
        axes = node.attributes.get("scan_input_axes") or (0,) * slices
        length: Dim = dims.fresh(node.outputs[0])
        for value, name, axis in zip(body.inputs[count:], node.inputs[count:], axes, strict=False):
            kind = self._types.get(name)
            if isinstance(kind, TensorType) and kind.shape:
                length = kind.shape[axis]
                rest = list(kind.shape)
                del rest[axis]
                kind = TensorType(kind.dtype, tuple(rest))
            self._types[value.name] = kind
        states = [self._types.get(name) for name in node.inputs[:count]]
        states = self._settle(body, body.inputs[:count], body.outputs[:count], states)
        for name, kind in zip(node.outputs, states, strict=False):
            self._types[name] = kind
        outward = node.attributes.get("scan_output_axes") or (0,) * len(node.outputs)
        rows = zip(node.outputs[count:], body.outputs[count:], outward, strict=False)
        for name, value, axis in rows:
            self._types[name] = _stacked(self._types.get(value.name), axis, length)

    def _settle(
        self,
        body: Graph,
        inputs: Sequence[Value],
        outputs: Sequence[Value],
        kinds: list[Type | None],
    ) -> list[Type | None]:
        """The types of what a body hands from one round to the next, made general until they
        hold for every round."""
        for round_ in range(_LOOP_ROUNDS):
            for value, kind in zip(inputs, kinds, strict=False):
                self._types[value.name] = kind
            self.graph(body)
            after = [
                _either(kind, self._types.get(value.name), value.name, round_ > 0)
                for kind, value in zip(kinds, outputs, strict=False)
            ]
            if after == kinds:
                break
            kinds = after
        return kinds


def _either(a: Type | None, b: Type | None, name: str, strict: bool = False) -> Type | None:
    """What holds of a value that is one or the other."""
    if a == b:
        return a
    if not isinstance(a, TensorType) or not isinstance(b, TensorType) or a.dtype != b.dtype:
        return None
    if a.shape is None or b.shape is None or len(a.shape) != len(b.shape) or strict:
        return TensorType(a.dtype, None)
    pairs = enumerate(zip(a.shape, b.shape, strict=True))
    return TensorType(
        a.dtype, tuple(x if x == y else dims.fresh(f"{name}.{i}") for i, (x, y) in pairs)
    )


def _stacked(kind: Type | None, axis: int, length: Dim) -> Type | None:
    if not isinstance(kind, TensorType) or kind.shape is None:
        return kind
    shape = list(kind.shape)
    shape.insert(axis if axis >= 0 else len(shape) + 1 + axis, length)
    return TensorType(kind.dtype, tuple(shape))
