"""Small ONNX models for tests, made in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["FLOAT", "INT64", "info", "make", "mlp", "save"]

FLOAT = TensorProto.FLOAT
INT64 = TensorProto.INT64
OPSET = 17


def info(name: str, shape: Sequence[int | str | None] | None, kind: int = FLOAT) -> Any:
    """A tensor's declaration."""
    return helper.make_tensor_value_info(name, kind, shape)


def make(
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    weights: Mapping[str, Any] | None = None,
    opset: int = OPSET,
    **more: Any,
) -> onnx.ModelProto:
    """A model of these nodes; weights are arrays by name."""
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in (weights or {}).items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    opsets = more.pop("opset_imports", [helper.make_opsetid("", opset)])
    return helper.make_model(graph, opset_imports=opsets, ir_version=more.pop("ir_version", 9))


def save(folder: Path, model: onnx.ModelProto | bytes, name: str = "m.onnx") -> Path:
    """The path of a model written to a folder."""
    path = folder / name
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def mlp(rows: str = "batch") -> onnx.ModelProto:
    """x [batch, 4] -> Gemm, Relu, Gemm -> y [batch, 2]; the first weights fill some KiB."""
    random = np.random.default_rng(7)
    weights = {
        "w1": random.normal(size=(4, 300)).astype(np.float32),
        "b1": random.normal(size=300).astype(np.float32),
        "w2": random.normal(size=(300, 2)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["r"], name="act"),
        helper.make_node("MatMul", ["r", "w2"], ["y"], name="second"),
    ]
    return make(nodes, [info("x", [rows, 4])], [info("y", [rows, 2])], weights)
