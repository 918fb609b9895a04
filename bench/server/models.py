"""The models that servers are measured with: made by the IR builder, seeded, no files needed."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bench.measure import interleave
from pelton.compiler import (
    ROWS,
    Activation,
    Binary,
    GraphBuilder,
    plan_metadata,
    write_plan,
)
from pelton.model import load
from pelton.settings import load_settings

__all__ = ["ADD_WIDTH", "MLP_WIDTHS", "TimedPlan", "add_plan", "mlp_onnx", "mlp_plan", "timed_plan"]

ADD_WIDTH: Final = 16
MLP_WIDTHS: Final = (512, 1024, 512, 256, 1)
_ONNX_OPSET: Final = 18
_ONNX_IR_VERSION: Final = 9
_LAYERS_MAX: Final = 4096

Array = npt.NDArray[np.float32]


def _write(builder: GraphBuilder, path: Path) -> Path:
    graph = builder.build()
    write_plan(graph, path, plan_metadata(graph), {})
    return path


def add_plan(folder: Path) -> Path:
    """x FP32 [-1, 16] -> y = x + 1: a server's own cost and nothing else."""
    builder = GraphBuilder("add")
    x = builder.input("x", (ROWS, ADD_WIDTH))
    builder.output("y", builder.binary(x, np.ones(ADD_WIDTH, np.float32), Binary.ADD))
    return _write(builder, folder / "add.plan")


@dataclass(frozen=True, slots=True)
class _Layer:
    weight: Array
    bias: Array


def _mlp_layers(seed: int) -> list[_Layer]:
    generator = np.random.default_rng(seed)
    layers = []
    for depth, width in itertools.pairwise(MLP_WIDTHS):
        weight = generator.standard_normal((depth, width), np.float32) / np.float32(depth**0.5)
        layers.append(_Layer(weight, generator.standard_normal(width, np.float32)))
    return layers


def mlp_plan(folder: Path, seed: int) -> Path:
    """x FP32 [-1, 512] -> y [-1, 1]: four products with bias, ReLU between them."""
    builder = GraphBuilder("mlp")
    value = builder.input("x", (ROWS, MLP_WIDTHS[0]))
    layers = _mlp_layers(seed)
    for layer in layers:
        activation = Activation.NONE if layer is layers[-1] else Activation.RELU
        value = builder.gemm(value, layer.weight, layer.bias, activation=activation)
    builder.output("y", value)
    return _write(builder, folder / "mlp.plan")


def mlp_onnx(folder: Path, seed: int) -> Path:
    """The same model, with the same weights, for ONNX Runtime."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    weights: list[Any] = []
    value = "x"
    layers = _mlp_layers(seed)
    for index, layer in enumerate(layers):
        last = layer is layers[-1]
        weights.append(numpy_helper.from_array(layer.weight, f"w{index}"))
        weights.append(numpy_helper.from_array(layer.bias, f"b{index}"))
        product = "y" if last else f"p{index}"
        nodes.append(helper.make_node("Gemm", [value, f"w{index}", f"b{index}"], [product]))
        if not last:
            nodes.append(helper.make_node("Relu", [product], [f"r{index}"]))
            value = f"r{index}"
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", MLP_WIDTHS[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", MLP_WIDTHS[-1]])],
        initializer=weights,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", _ONNX_OPSET)],
        ir_version=_ONNX_IR_VERSION,
    )
    path = folder / "mlp.onnx"
    onnx.save(model, str(path))
    return path


def _chain_plan(path: Path, width: int, layers: int) -> Path:
    """x FP32 [-1, width] -> y = relu(x), by the way of many products with the identity."""
    builder = GraphBuilder(path.stem)
    weight = builder.weight(np.eye(width, dtype=np.float32))
    value = builder.input("x", (ROWS, width))
    for _ in range(layers):
        value = builder.gemm(value, weight, activation=Activation.RELU)
    builder.output("y", value)
    return _write(builder, path)


@dataclass(frozen=True, slots=True)
class TimedPlan:
    """`seconds` is what a call took in this process, alone."""

    path: Path
    seconds: float


def timed_plan(path: Path, *, rows: int, width: int, seconds: float, threads: int) -> TimedPlan:
    """A chain of products that takes about `seconds` for `rows` rows here: chains of more and more
    layers are timed until one takes half as long."""

    def timed(layers: int) -> float:
        plan = _chain_plan(path, width, layers)
        with load(plan, settings=load_settings(flags={"threads": threads})) as model:
            inputs = {"x": np.ones((rows, width), np.float32)}
            times = interleave({"x": lambda: model.run(inputs)}, rounds=9, sample_seconds=0.01)
        return times["x"].median

    one = timed(1)
    layers, taken = 1, one
    while taken - one < seconds / 2 and layers < _LAYERS_MAX:
        layers = min(4 * layers, _LAYERS_MAX)
        taken = timed(layers)
    each = max((taken - one) / max(layers - 1, 1), 1e-9)
    layers = min(1 + max(0, round((seconds - one) / each)), _LAYERS_MAX)
    return TimedPlan(path, timed(layers))
