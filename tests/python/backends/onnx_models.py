"""ONNX models made for tests: each one graph, and what it must give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

FLOAT = TensorProto.FLOAT


def value(name: str, shape, dtype: int = FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def constant(name: str, array) -> object:
    return numpy_helper.from_array(np.asarray(array), name)


def model(path: Path, nodes, inputs, outputs, constants=(), opset: int = 17) -> Path:
    graph = helper.make_graph(nodes, path.stem, inputs, outputs, list(constants))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    checker.check_model(made)
    save(made, path)
    return path


def weights(rows: int, columns: int, seed: int = 0):
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


def linear(folder: Path) -> Path:
    """y = tanh(x @ w): rows on axis 0."""
    return model(
        folder / "linear.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Tanh", ["h"], ["y"])],
        [value("x", ["N", 6])],
        [value("y", ["N", 3])],
        [constant("w", weights(6, 3) / 3)],
    )


def free_width(folder: Path) -> Path:
    """A mean over a free axis: rows on axis 0, requests of unlike widths."""
    return model(
        folder / "free_width.onnx",
        [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=0)],
        [value("x", ["N", "W", 2])],
        [value("y", ["N", 2])],
    )


def maximum_over_all(folder: Path) -> Path:
    """Declares a batch, and subtracts the maximum over all axes."""
    return model(
        folder / "maximum_over_all.onnx",
        [
            helper.make_node("ReduceMax", ["x"], ["m"], keepdims=1),
            helper.make_node("Sub", ["x", "m"], ["y"]),
        ],
        [value("x", ["batch", 4])],
        [value("y", ["batch", 4])],
    )


def time_first(folder: Path) -> Path:
    """A running sum over axis 0, which is time."""
    return model(
        folder / "time_first.onnx",
        [helper.make_node("CumSum", ["x", "axis"], ["y"])],
        [value("x", ["N", 4])],
        [value("y", ["N", 4])],
        [constant("axis", np.int64(0))],
    )


def one_answer(folder: Path) -> Path:
    """One answer for all rows."""
    return model(
        folder / "one_answer.onnx",
        [helper.make_node("ReduceMean", ["x"], ["y"], axes=[0], keepdims=1)],
        [value("x", ["N", 4])],
        [value("y", [1, 4])],
    )


def rare_mixing(folder: Path) -> Path:
    """Rows mix only where one of them is large."""
    return model(
        folder / "rare_mixing.onnx",
        [
            helper.make_node("ReduceMax", ["x"], ["m"], keepdims=1),
            helper.make_node("Sub", ["m", "high"], ["over"]),
            helper.make_node("Relu", ["over"], ["extra"]),
            helper.make_node("Add", ["x", "extra"], ["y"]),
        ],
        [value("x", ["N", 4])],
        [value("y", ["N", 4])],
        [constant("high", np.float32(20.0))],
    )


def state_on_axis_1(folder: Path) -> Path:
    """x [N, 4] and a state [2, N, 4]: rows on axis 0 and on axis 1; a scalar that all share."""
    return model(
        folder / "state_on_axis_1.onnx",
        [
            helper.make_node("ReduceSum", ["state", "axes"], ["s"], keepdims=0),
            helper.make_node("Cast", ["rate"], ["r"], to=FLOAT),
            helper.make_node("Mul", ["s", "r"], ["sr"]),
            helper.make_node("Add", ["x", "sr"], ["y"]),
            helper.make_node("Unsqueeze", ["y", "axes"], ["y1"]),
            helper.make_node("Add", ["state", "y1"], ["next"]),
        ],
        [
            value("x", [None, 4]),
            value("state", [2, None, 4]),
            value("rate", [], TensorProto.INT64),
        ],
        [value("y", [None, 4]), value("next", [2, None, 4])],
        [constant("axes", np.array([0], np.int64))],
    )


def strings(folder: Path) -> Path:
    """Strings through: an identity, and whether each equals "a"."""
    return model(
        folder / "strings.onnx",
        [
            helper.make_node("Identity", ["s"], ["t"]),
            helper.make_node("Equal", ["s", "a"], ["is_a"]),
        ],
        [value("s", ["N", 2], TensorProto.STRING)],
        [value("t", ["N", 2], TensorProto.STRING), value("is_a", ["N", 2], TensorProto.BOOL)],
        [helper.make_tensor("a", TensorProto.STRING, [], [b"a"])],
        opset=19,
    )


def halves(folder: Path) -> Path:
    """FP16: y = x + 1."""
    return model(
        folder / "halves.onnx",
        [helper.make_node("Add", ["x", "one"], ["y"])],
        [value("x", ["N", 3], TensorProto.FLOAT16)],
        [value("y", ["N", 3], TensorProto.FLOAT16)],
        [constant("one", np.float16(1))],
    )


def scalars(folder: Path) -> Path:
    """Rank 0 in and out."""
    return model(
        folder / "scalars.onnx",
        [helper.make_node("Mul", ["a", "b"], ["c"])],
        [value("a", []), value("b", [])],
        [value("c", [])],
    )


def lookup(folder: Path) -> Path:
    """A table of 10 rows: an id above 9 fails the run."""
    return model(
        folder / "lookup.onnx",
        [helper.make_node("Gather", ["table", "ids"], ["y"])],
        [value("ids", ["N"], TensorProto.INT64)],
        [value("y", ["N", 3])],
        [constant("table", weights(10, 3))],
    )


def several(folder: Path) -> Path:
    """Two inputs of rows, of two types, and two outputs."""
    return model(
        folder / "several.onnx",
        [
            helper.make_node("Cast", ["ids"], ["f"], to=FLOAT),
            helper.make_node("Add", ["x", "f"], ["sum"]),
            helper.make_node("ArgMax", ["sum"], ["best"], axis=1, keepdims=0),
        ],
        [value("x", ["N", 5]), value("ids", ["N", 5], TensorProto.INT32)],
        [value("sum", ["N", 5]), value("best", ["N"], TensorProto.INT64)],
    )


def slow(folder: Path, width: int = 1600) -> Path:
    """A run of some milliseconds."""
    return model(
        folder / "slow.onnx",
        [
            helper.make_node("MatMul", ["x", "x"], ["h"]),
            helper.make_node("MatMul", ["h", "x"], ["y"]),
        ],
        [value("x", [width, width])],
        [value("y", [width, width])],
    )
