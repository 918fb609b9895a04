"""The metadata section of a plan (docs/plan-format.md, "Metadata")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pelton.compiler.ir import Graph, Tensor
from pelton.compiler.version import COMPILER_VERSION

__all__ = ["plan_metadata"]

_TENSOR_MODEL: Final[Mapping[str, Any]] = {"kind": "tensor", "limits": {}}


def plan_metadata(
    graph: Graph,
    *,
    source: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    model: Mapping[str, Any] = _TENSOR_MODEL,
) -> dict[str, Any]:
    """`model` is what the importer says about the model: at least `kind` and `limits`; `source` is
    `{"digest": …, "files": {name: digest}}`, empty for a graph built in a program."""
    return {
        **model,
        "name": graph.name,
        "batching": "ragged" if graph.ragged else "dense",
        "inputs": [_tensor(tensor) for tensor in graph.inputs],
        "outputs": [_tensor(tensor) for tensor in graph.outputs],
        "source": dict(source or {}),
        "compiler": {"version": COMPILER_VERSION},
        "settings": dict(settings or {}),
        "quantization": "none",
        # Weights are kept as they came, so there is no error to measure against fp32.
        "error": {"basis": "not_quantized", "value": None},
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.dtype, "shape": list(tensor.dims)}
