"""Inference over symbolic sizes: against ONNX Runtime's shapes, and what names become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from pelton.compiler.onnx.dims import Expr
from pelton.compiler.onnx.export import to_model_proto
from pelton.compiler.onnx.read import read_model
from pelton.compiler.onnx.shapes import infer, with_types
from python.compiler.onnx.models import info, make, mlp, save
from python.compiler.onnx.rows import session
from python.compiler.onnx.test_batch_axis import attention, cnn, loop, lstm, node, one, zeros


def sizes_of(folder: Path, model: Any, name: str = "y") -> list[str]:
    found = infer(read_model(save(folder, model)))
    assert found.problems == {}
    return [str(dim) for dim in found.shape(name) or ()]


CASES: dict[str, tuple[Any, list[str]]] = {
    "mlp": (mlp(), ["batch", "2"]),
    "cnn": (cnn(), ["N", "5"]),
    "attention": (attention(), ["N", "8"]),
    "lstm": (lstm(), ["N", "3"]),
    "zeros": (zeros(), ["N", "3"]),
    "loop": (loop(), ["N", "?"]),
    "joined": (one([node("Concat", "x x x", axis=1)], ["N", "T"]), ["N", "3*T"]),
    "flat": (one([node("Flatten", "x")], ["N", "T", 4]), ["N", "4*T"]),
    "tiled": (one([node("Tile", "x r")], ["N", "T"], r=np.array([1, 2])), ["N", "2*T"]),
    "padded": (
        one([node("Pad", "x p")], ["N", "T"], p=np.array([0, 1, 0, 2])),
        ["N", "T + 3"],
    ),
    "conv": (
        one(
            [node("Conv", "x w", strides=[2], pads=[1, 1])],
            ["N", 3, "T"],
            w=np.ones((4, 3, 3), "f"),
        ),
        ["N", "4", "(T - 1)//2 + 1"],
    ),
    "resized": (
        one([node("Resize", "x _ s")], ["N", 1, "H"], s=np.array([1, 1, 2], np.float32)),
        ["N", "1", "2*H"],
    ),
    "half": (
        one(
            [
                node("Shape", "x", "s"),
                node("Gather", "s one", "t"),
                node("Div", "t two", "h"),
                node("Unsqueeze", "h zero", "u"),
                node("ConstantOfShape", "u", "y"),
            ],
            ["N", "T"],
            one=np.array(1),
            two=np.array(2),
            zero=np.array([0]),
        ),
        ["(T)//2"],
    ),
    "counted": (
        one(
            [
                node("Shape", "x", "s"),
                node("Gather", "s one", "t"),
                node("Range", "zero t one", "r"),
                node("Cast", "r", "y", to=1),
            ],
            ["N", "T"],
            one=np.array(1),
            zero=np.array(0),
        ),
        ["T"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_sizes_are_expressions(tmp_path: Path, name: str) -> None:
    model, expected = CASES[name]
    found = sizes_of(tmp_path, model)
    shown = ["?" if "?" in size else size for size in found]
    assert shown == expected


@pytest.mark.parametrize("name", CASES)
def test_shapes_are_those_of_onnx_runtime(tmp_path: Path, name: str) -> None:
    path = save(tmp_path, CASES[name][0])
    model = read_model(path)
    (value,) = model.graph.inputs
    numbers = {"N": 3, "T": 7, "H": 4, "batch": 3}
    shape = [numbers[str(d)] if isinstance(d, Expr) else d for d in value.shape or ()]
    found = infer(model, {value.name: tuple(shape)})
    (result,) = session(str(path)).run(["y"], {value.name: np.ones(shape, np.float32)})
    inferred = found.shape("y")
    assert inferred is not None
    assert len(inferred) == result.ndim
    for size, actual in zip(inferred, result.shape, strict=True):
        assert isinstance(size, Expr) or size == actual


def test_a_branch_that_is_known_is_taken(tmp_path: Path) -> None:
    then = helper.make_graph([node("Flatten", "x", "a")], "t", [], [info("a", None)])
    other = helper.make_graph([node("Identity", "x", "b")], "e", [], [info("b", None)])
    branch = helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)
    for flag, expected in ((True, ["N", "6"]), (False, ["N", "2", "3"])):
        model = make([branch], [info("x", ["N", 2, 3])], [info("y", None)], {"c": np.array(flag)})
        assert sizes_of(tmp_path, model) == expected


def test_complaints_of_onnx_are_kept(tmp_path: Path) -> None:
    model = one([node("MatMul", "x w")], ["N", 4], w=np.ones((5, 2), np.float32))
    model.graph.node.append(node("Gemm", "x w", "z"))
    found = infer(read_model(save(tmp_path, model)))
    assert [each.op for each in found.problems] == ["MatMul", "Gemm"]


def test_element_types_that_do_not_fit_are_complaints(tmp_path: Path) -> None:
    """Found by mutation 1873: onnx raises another error for element types than for sizes."""
    model = make(
        [node("MatMul", "x x")], [info("x", [4, 4], onnx.TensorProto.UINT16)], [info("y", None)]
    )
    found = infer(read_model(save(tmp_path, model)))
    assert ["uint16" in text for text in found.problems.values()] == [True]


def test_types_are_put_into_the_graph(tmp_path: Path) -> None:
    model = with_types(read_model(save(tmp_path, mlp())))
    assert [str(d) for d in model.graph.values["h"].shape or ()] == ["batch", "300"]
    assert model.graph.values["h"].dtype == "FP32"


@pytest.mark.parametrize("name", CASES)
def test_models_survive_a_round_trip(tmp_path: Path, name: str) -> None:
    path = save(tmp_path, CASES[name][0])
    model = read_model(path)
    (value,) = model.graph.inputs
    shape = [3 if isinstance(d, Expr) else d for d in value.shape or ()]
    inputs = {value.name: np.random.default_rng(1).normal(size=shape).astype(np.float32)}
    expected = session(str(path)).run(None, inputs)
    written = session(to_model_proto(model).SerializeToString()).run(None, inputs)
    for a, b in zip(expected, written, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("value", [2.0, 0.5, np.inf, np.nan, 65504.0])
def test_constants_of_half_precision(tmp_path: Path, value: float) -> None:
    """ONNX's own cases hold them: a bound on what counts as a size must not overflow."""
    model = one([node("Add", "x w")], ["N"], w=np.array([value], np.float16))
    for each in (*model.graph.input, *model.graph.output):
        each.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    found = infer(read_model(save(tmp_path, model)))
    assert ("w" in found.known) == (value in {2.0, 65504.0})
