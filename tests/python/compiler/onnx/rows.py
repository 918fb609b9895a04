"""The numeric side of the batching analysis: ONNX Runtime on rows alone and together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from pelton.compiler.onnx.batch_axis import BatchVerdict
from pelton.compiler.onnx.dims import Expr
from pelton.compiler.onnx.graph import OnnxModel

__all__ = ["difference", "random_inputs", "session"]

Arrays = dict[str, npt.NDArray[Any]]


def session(data: Any) -> Any:
    """An ONNX Runtime session of a path or of bytes, with two threads and no messages."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def random_inputs(model: OnnxModel, sizes: Mapping[str, int], seed: int, rows: int = 1) -> Arrays:
    """Random inputs; `sizes` gives free dimensions by their names, others are `rows`."""
    random = np.random.default_rng(seed)
    found = {}
    for value in model.graph.inputs:
        shape = [sizes.get(str(d), rows) if isinstance(d, Expr) else d for d in value.shape or ()]
        if value.dtype in {"INT64", "INT32"}:  # ids of words, and bytes
            top = 2 if value.dtype == "INT64" else 256
            drawn = random.integers(0, top, shape).astype(value.dtype.lower())
        elif value.dtype == "BOOL":
            drawn = random.integers(0, 2, shape).astype(bool)
        else:
            drawn = random.normal(size=shape).astype(np.float32)
        found[value.name] = np.asarray(drawn)
    return found


def difference(run: Any, verdict: BatchVerdict, alone: list[Arrays]) -> float:
    """The largest relative difference between rows run together and the same rows alone."""
    assert verdict.inputs is not None
    assert verdict.outputs is not None
    together = {
        name: alone[0][name] if axis is None else np.concatenate([a[name] for a in alone], axis)
        for name, axis in verdict.inputs.items()
    }
    names = list(verdict.outputs)
    batch = run.run(names, together)
    worst = 0.0
    for row, inputs in enumerate(alone):
        for name, whole, single in zip(names, batch, run.run(names, inputs), strict=True):
            axis = verdict.outputs[name]
            part = whole if axis is None else np.take(whole, [row], axis)
            assert part.shape == single.shape
            scale = max(float(np.abs(single).max(initial=0)), 1e-3)
            worst = max(worst, float(np.abs(part - single).max(initial=0)) / scale)
    return worst
