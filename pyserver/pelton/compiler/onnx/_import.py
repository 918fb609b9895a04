"""From parsed messages to the graph of `graph.py`: every name, type and attribute checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pelton.compiler.onnx._order import in_order, one_cycle
from pelton.compiler.onnx._refuse import node_name, quote, refusal, text
from pelton.compiler.onnx._schemas import attribute_kinds, schema_of
from pelton.compiler.onnx._values import Values
from pelton.compiler.onnx.graph import AttributeRef, FunctionId, Graph, Node, OtherType, Value
from pelton.compiler.onnx.tensors import Tensor

__all__ = ["NODES_MAX", "SUBGRAPH_DEPTH_MAX", "Importer", "domain_of"]

SUBGRAPH_DEPTH_MAX: Final = 16
NODES_MAX: Final = 1_000_000

#: ONNX's code of an attribute's kind -> the member of AttributeProto that holds it.
_MEMBERS: Final = {
    1: "f",
    2: "i",
    3: "s",
    4: "t",
    5: "g",
    6: "floats",
    7: "ints",
    8: "strings",
    9: "tensors",
    10: "graphs",
    11: "sparse_tensor",
    12: "sparse_tensors",
    13: "tp",
    14: "type_protos",
}
_LISTS: Final = frozenset({6, 7, 8, 9, 10, 12, 14})


def domain_of(domain: str) -> str:
    """A domain by its one name."""
    return "" if domain == "ai.onnx" else domain


@dataclass
class Scope:
    """The names that a graph can see: its own and, further out, those around it."""

    outer: Scope | None = None
    graph: str = ""
    depth: int = 0
    in_function: bool = False
    names: dict[str, str] = field(default_factory=dict)

    def find(self, name: str) -> str | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        return None


class Importer:
    """Imports the graphs of one file. Not thread-safe; used once."""

    def __init__(
        self, path: Path, values: Values, opsets: Mapping[str, int], functions: Iterable[FunctionId]
    ) -> None:
        self._path = path
        self._values = values
        self._opsets = opsets
        self._functions = frozenset(functions)
        self._taken: set[str] = set()
        self._nodes = 0

    def refuse(self, at: str, reason: str, expected: str, got: object) -> Exception:
        return refusal(self._path, reason, expected=expected, got=got, at=at)

    def graph(self, proto: Any, outer: Scope | None = None) -> Graph:
        """The graph of a GraphProto, with those inside it."""
        scope = Scope(outer, text(proto.name), outer.depth + 1 if outer else 0)
        scope.in_function = outer is not None and outer.in_function
        if scope.depth > SUBGRAPH_DEPTH_MAX:
            wanted = f"subgraphs nested at most {SUBGRAPH_DEPTH_MAX} deep"
            raise self.refuse(f"graph {quote(proto.name)}", "nesting", wanted, "deeper")
        initializers = self._initializers(proto, scope)
        inputs = self._inputs(proto, scope, initializers)
        for index, node in enumerate(proto.node):
            self._define_outputs(node, index, scope)
        nodes = self.nodes(proto.node, scope)
        outputs = self._outputs(proto, scope)
        values = {}
        for info in proto.value_info:
            found = scope.names.get(info.name)
            if found is not None:
                at = f"value {quote(info.name)}"
                values[found] = Value(found, self._values.type(info.type, info.name, at))
        return Graph(proto.name, inputs, outputs, nodes, initializers, values)

    def nodes(self, protos: Any, scope: Scope) -> tuple[Node, ...]:
        """The nodes of a graph or function whose names are defined, in order."""
        self._nodes += len(protos)
        if self._nodes > NODES_MAX:
            raise self.refuse("", "nodes", f"at most {NODES_MAX}", self._nodes)
        nodes = [self._node(proto, index, scope) for index, proto in enumerate(protos)]
        order = in_order(nodes)
        if order is None:
            cycle = [node_name(nodes[i].op, nodes[i].name, i) for i in one_cycle(nodes)[:8]]
            raise self.refuse(cycle[0], "cycle", "a graph without cycles", " <- ".join(cycle))
        return tuple(nodes[index] for index in order)

    def define(self, name: str, scope: Scope, at: str) -> str:
        """Enters a name of this graph; the name that it has in the model."""
        name = text(name)
        if name in scope.names:
            raise self.refuse(at, "name", "every value defined once", f"{quote(name)} twice")
        unique, number = name, 1
        while unique in self._taken:
            unique, number = f"{name}#{number}", number + 1
        self._taken.add(unique)
        scope.names[name] = unique
        return unique

    def _initializers(self, proto: Any, scope: Scope) -> dict[str, Tensor]:
        found = {}
        for tensor in proto.initializer:
            at = f"initializer {quote(tensor.name)}"
            if not tensor.name:
                raise self.refuse(at, "name", "a name", "none")
            found[self.define(tensor.name, scope, at)] = self._values.tensor(tensor, at)
        for sparse in proto.sparse_initializer:
            at = f"sparse initializer {quote(sparse.values.name)}"
            found[self.define(sparse.values.name, scope, at)] = self._values.sparse(sparse, at)
        return found

    def _inputs(
        self, proto: Any, scope: Scope, initializers: Mapping[str, Tensor]
    ) -> tuple[Value, ...]:
        inputs = []
        seen: set[str] = set()
        for info in proto.input:
            at = f"input {quote(info.name)}"
            if info.name in seen or not info.name:
                raise self.refuse(at, "name", "inputs with names of their own", quote(info.name))
            seen.add(info.name)
            kind = self._values.type(info.type, info.name, at, required=scope.outer is None)
            constant = initializers.get(scope.names.get(info.name, ""))
            if constant is None:
                inputs.append(Value(self.define(info.name, scope, at), kind))
                continue
            declared = Value(info.name, kind)
            if declared.dtype not in (None, constant.dtype):
                raise self.refuse(
                    at, "element type", f"{declared.dtype} of its initializer", constant.dtype
                )
        return tuple(inputs)

    def _outputs(self, proto: Any, scope: Scope) -> tuple[Value, ...]:
        if not proto.output:
            raise self.refuse(f"graph {quote(proto.name)}", "outputs", "at least one", "none")
        outputs: list[Value] = []
        for info in proto.output:
            at = f"output {quote(info.name)}"
            found = scope.find(info.name)
            if not info.name or found is None:
                raise self.refuse(at, "output", "a value that the graph defines", "none")
            if scope.outer is None and any(value.name == found for value in outputs):
                raise self.refuse(at, "name", "every output once", f"{quote(info.name)} twice")
            outputs.append(Value(found, self._values.type(info.type, info.name, at)))
        return tuple(outputs)

    def _define_outputs(self, proto: Any, index: int, scope: Scope) -> None:
        inside = scope.graph if scope.outer else ""
        for name in proto.output:
            if name:
                self.define(name, scope, node_name(proto.op_type, proto.name, index, inside))

    def _node(self, proto: Any, index: int, scope: Scope) -> Node:
        inside = scope.graph if scope.outer else ""
        at = node_name(proto.op_type, proto.name, index, inside)
        if not proto.op_type:
            raise self.refuse(at, "op", "the name of an op", "none")
        domain, name, op = domain_of(text(proto.domain)), text(proto.name), text(proto.op_type)
        inputs = []
        for position, source in enumerate(proto.input):
            found = scope.find(source) if source else ""
            if found is None:
                raise self.refuse(
                    at,
                    f"input {position}",
                    "a value that is defined",
                    f"{quote(source)}, which is not",
                )
            inputs.append(found)
        attributes: dict[str, Any] = {}
        for attribute in proto.attribute:
            if attribute.name in attributes or not attribute.name:
                got = quote(attribute.name)
                raise self.refuse(at, "attribute", "attributes with names of their own", got)
            attributes[text(attribute.name)] = self.attribute(attribute, at, scope)
        outputs = tuple(scope.names[name] if name else "" for name in proto.output)
        since = self._checked(proto, domain, attributes, at)
        return Node(
            op,
            tuple(inputs),
            outputs,
            attributes,
            domain,
            name,
            since,
            text(proto.overload),
        )

    def _checked(self, proto: Any, domain: str, attributes: Mapping[str, Any], at: str) -> int:
        """The version of the op's schema, after its arity and attributes are checked."""
        if (domain, proto.op_type, proto.overload) in self._functions:
            return 0
        if domain not in self._opsets:
            wanted = f"opset_import to name the domain {quote(domain or 'ai.onnx')}"
            raise self.refuse(at, "domain", wanted, "it does not")
        opset = self._opsets[domain]
        schema = schema_of(proto.op_type, domain, opset)
        if schema is None:
            return 0
        for what, count, low, high in (
            ("inputs", len(proto.input), schema.min_input, schema.max_input),
            ("outputs", len(proto.output), schema.min_output, schema.max_output),
        ):
            if not low <= count <= high:
                raise self.refuse(at, f"number of {what}", f"{low} to {high}", count)
        kinds = attribute_kinds(proto.op_type, domain, opset)
        for attribute in proto.attribute:
            if attribute.name not in kinds:
                raise self.refuse(at, "attribute", "attributes of the op", quote(attribute.name))
            kind = kinds[attribute.name][0]
            if attribute.type not in (0, kind):
                raise self.refuse(
                    at, f"kind of attribute {quote(attribute.name)}", str(kind), attribute.type
                )
        for name, (_, required) in kinds.items():
            if required and name not in attributes:
                raise self.refuse(at, "attribute", f"{quote(name)}, which it must have", "none")
        return int(schema.since_version)

    def attribute(self, proto: Any, at: str, scope: Scope) -> Any:
        """The plain value of an AttributeProto."""
        kind = proto.type
        if proto.ref_attr_name:
            if not scope.in_function:
                got = f"{quote(proto.name)} refers to {quote(proto.ref_attr_name)}"
                raise self.refuse(at, "attribute", "references in functions only", got)
            return AttributeRef(text(proto.ref_attr_name), kind)
        if kind == 0:  # files of the first versions name no kind
            kind = next(
                (k for k, m in _MEMBERS.items() if k not in _LISTS and proto.HasField(m)),
                next((k for k in sorted(_LISTS) if len(getattr(proto, _MEMBERS[k]))), 0),
            )
        if kind not in _MEMBERS:
            raise self.refuse(at, f"attribute {quote(proto.name)}", "a value", "none")
        value = getattr(proto, _MEMBERS[kind])
        if kind not in _LISTS:
            return self._one(kind, value, f"{at}: attribute {quote(proto.name)}", scope)
        if kind in (6, 7, 8):
            return tuple(value)
        singular = {9: 4, 10: 5, 12: 11, 14: 13}[kind]
        where = f"{at}: attribute {quote(proto.name)}"
        return tuple(self._one(singular, item, where, scope) for item in value)

    def _one(self, kind: int, value: Any, at: str, scope: Scope) -> Any:
        if kind == 4:
            return self._values.tensor(value, at)
        if kind == 5:
            return self.graph(value, scope)
        if kind == 11:
            return self._values.sparse(value, at)
        if kind == 13:
            return OtherType("attribute", value.SerializeToString())
        return value
