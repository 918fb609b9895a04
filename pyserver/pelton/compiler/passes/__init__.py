"""Graph to graph: what the engine can do in one instruction becomes one node.

Order matters: biases go into their GEMMs first, so that q, k and v can be merged with them; an
activation follows the bias; a residual is added after the activation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pelton.compiler.ir import Graph
from pelton.compiler.passes.dead_code import remove_dead_code
from pelton.compiler.passes.fuse_activation import fuse_activation
from pelton.compiler.passes.fuse_bias import fuse_bias
from pelton.compiler.passes.fuse_residual import fuse_residual
from pelton.compiler.passes.merge_qkv import merge_qkv

__all__ = [
    "PASSES",
    "fuse_activation",
    "fuse_bias",
    "fuse_residual",
    "merge_qkv",
    "remove_dead_code",
    "run_passes",
]

PASSES: Final[tuple[Callable[[Graph], Graph], ...]] = (
    fuse_bias,
    merge_qkv,
    fuse_activation,
    fuse_residual,
    remove_dead_code,
)


def run_passes(graph: Graph) -> Graph:
    """The graph after every pass."""
    for run in PASSES:
        graph = run(graph)
    return graph
