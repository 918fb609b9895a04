"""Graph to graph, each pass for one thing; `optimize` runs them until nothing changes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from pelton.compiler.onnx.graph import OnnxModel
from pelton.compiler.onnx.passes._rewrite import Context, Pass, each_graph
from pelton.compiler.onnx.passes.common import merge_common
from pelton.compiler.onnx.passes.constants import constants_to_initializers
from pelton.compiler.onnx.passes.dead_code import remove_dead_code
from pelton.compiler.onnx.passes.fold import fold_constants
from pelton.compiler.onnx.passes.functions import inline_functions
from pelton.compiler.onnx.passes.identities import remove_identities
from pelton.compiler.onnx.passes.sizes import fold_sizes
from pelton.compiler.onnx.shapes import infer, with_types

__all__ = [
    "PASSES",
    "ROUNDS_MAX",
    "constants_to_initializers",
    "fold_constants",
    "fold_sizes",
    "inline_functions",
    "merge_common",
    "optimize",
    "remove_dead_code",
    "remove_identities",
    "run_pass",
]

#: Constants first, so that folding sees them; what became unused goes last.
PASSES: Final[tuple[Pass, ...]] = (
    inline_functions,
    constants_to_initializers,
    fold_sizes,
    fold_constants,
    remove_identities,
    merge_common,
    remove_dead_code,
)
#: Rounds over all passes; real models need two or three.
ROUNDS_MAX: Final = 8


def optimize(model: OnnxModel, keep: Collection[str] | None = None) -> OnnxModel:
    """The cleaned-up model, with inferred types; its inputs and outputs stay as they are.

    `keep` names the standard ops that stay even where onnx defines them by a body; None keeps all.
    Functions of the model become their bodies; one whose ops mean something else under the model's
    opsets stays a call.
    """
    for _ in range(ROUNDS_MAX):
        context = _context(model, keep)
        before = model.graph
        for change in PASSES:
            model = _changed(model, change, context)
        if model.graph is before:
            break
    return with_types(model)


def run_pass(model: OnnxModel, change: Pass, keep: Collection[str] | None = None) -> OnnxModel:
    """The model after one pass."""
    return _changed(model, change, _context(model, keep))


def _changed(model: OnnxModel, change: Pass, context: Context) -> OnnxModel:
    return model.replace(graph=each_graph(model.graph, lambda inner: change(inner, context)))


def _context(model: OnnxModel, keep: Collection[str] | None) -> Context:
    taken: set[str] = set()
    for graph in model.graph.walk():
        taken.update(value.name for value in graph.inputs)
        taken.update(graph.initializers)
        taken.update(name for node in graph.nodes for name in node.outputs)
    return Context(model, infer(model), keep, taken)
