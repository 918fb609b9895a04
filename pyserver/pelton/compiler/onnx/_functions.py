"""The functions of a model: ops with a body of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pelton.compiler.onnx._import import Importer, Scope, domain_of
from pelton.compiler.onnx._refuse import quote, refusal, text
from pelton.compiler.onnx._values import Values
from pelton.compiler.onnx.graph import Function, FunctionId, Graph, Node

__all__ = ["called", "read_function", "read_functions"]


def read_functions(
    path: Path, values: Values, model: Any, identities: Iterable[FunctionId]
) -> Mapping[FunctionId, Function]:
    """All functions of a ModelProto; none calls itself, not even by a detour."""
    known = frozenset(identities)
    found: dict[FunctionId, Function] = {}
    for proto in model.functions:
        function = read_function(path, values, proto, known)
        if function.identity in found:
            at = f"function {quote(function.identity[1])}"
            raise refusal(path, "name", expected="one function of it", got="two", at=at)
        found[function.identity] = function
    _refuse_recursion(path, found)
    return found


def read_function(path: Path, values: Values, proto: Any, known: frozenset[FunctionId]) -> Function:
    """One FunctionProto; its names are its own."""
    identity = (domain_of(text(proto.domain)), text(proto.name), text(proto.overload))
    opsets = {domain_of(text(entry.domain)): entry.version for entry in proto.opset_import}
    importer = Importer(path, values, opsets, known)
    at = f"function {quote(proto.name)}"
    scope = Scope(None, proto.name, 0, in_function=True)
    for name in proto.input:
        importer.define(name, scope, at)
    for node in proto.node:
        for name in filter(None, node.output):
            importer.define(name, scope, at)
    nodes = importer.nodes(proto.node, scope)
    for name in proto.output:
        if name not in scope.names:
            got = f"{quote(name)}, which is not"
            raise refusal(path, "output", expected="a value that is defined", got=got, at=at)
    defaults = {text(a.name): importer.attribute(a, at, scope) for a in proto.attribute_proto}
    return Function(
        identity,
        tuple(map(text, proto.input)),
        tuple(map(text, proto.output)),
        (*map(text, proto.attribute), *defaults),
        defaults,
        nodes,
        opsets,
    )


def called(nodes: Iterable[Node]) -> set[FunctionId]:
    """The identities of all ops that nodes call, in their subgraphs too."""
    found: set[FunctionId] = set()
    pending: list[Node] = list(nodes)
    while pending:
        node = pending.pop()
        found.add(node.identity)
        inner: tuple[Graph, ...] = node.subgraphs
        pending.extend(below for graph in inner for below in graph.nodes)
    return found


def _refuse_recursion(path: Path, functions: Mapping[FunctionId, Function]) -> None:
    calls = {name: called(f.nodes) & functions.keys() for name, f in functions.items()}
    done: set[FunctionId] = set()
    while ready := {name for name, below in calls.items() if name not in done and below <= done}:
        done |= ready
    left = [name for name in functions if name not in done]
    if left:
        at = f"function {quote(left[0][1])}"
        raise refusal(path, "calls", expected="no function to call itself", got="a cycle", at=at)
