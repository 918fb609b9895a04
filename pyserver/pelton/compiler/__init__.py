"""Trained models to plans (docs/plan-format.md): import, fuse, pack, write, cache.

Everything is loaded on first use: opening a cached plan imports neither safetensors nor the
importer.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pelton.compiler.cache import PlanCache
    from pelton.compiler.driver import CompileSettings, compile_model, load_or_compile
    from pelton.compiler.ir import ROWS, TOKENS, Activation, Binary, Graph, GraphBuilder, Pooling
    from pelton.compiler.metadata import plan_metadata
    from pelton.compiler.passes import run_passes
    from pelton.compiler.plan_writer import write_plan

__all__ = [
    "ROWS",
    "TOKENS",
    "Activation",
    "Binary",
    "CompileSettings",
    "Graph",
    "GraphBuilder",
    "PlanCache",
    "Pooling",
    "compile_model",
    "load_or_compile",
    "plan_metadata",
    "run_passes",
    "write_plan",
]

_HOME: Final = {
    "cache": ("PlanCache",),
    "driver": ("CompileSettings", "compile_model", "load_or_compile"),
    "ir": ("ROWS", "TOKENS", "Activation", "Binary", "Graph", "GraphBuilder", "Pooling"),
    "metadata": ("plan_metadata",),
    "passes": ("run_passes",),
    "plan_writer": ("write_plan",),
}
_MODULE_OF: Final = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
