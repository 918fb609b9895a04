"""Where the batch is, and which op mixes rows; verdicts against ONNX Runtime on rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import real_models
from pelton.compiler.onnx.batch_axis import BatchVerdict, batch_axes
from pelton.compiler.onnx.read import read_model
from python.compiler.onnx.models import INT64, info, make, mlp, save
from python.compiler.onnx.rows import Arrays, difference, random_inputs, session

RANDOM = np.random.default_rng(3)


def weights(*shape: int) -> Any:
    return RANDOM.normal(size=shape).astype(np.float32)


def node(op: str, inputs: str, outputs: str = "y", **attributes: Any) -> Any:
    names = ["" if name == "_" else name for name in inputs.split()]
    name = f"the {op} of {inputs} to {outputs}"
    return helper.make_node(op, names, outputs.split(), name=name, **attributes)


def one(nodes: list[Any], shape: list[Any], opset: int = 17, **constants: Any) -> Any:
    """A model with the input x and the output y."""
    return make(nodes, [info("x", shape)], [info("y", None)], constants, opset)


def verdict_of(folder: Path, model: Any) -> BatchVerdict:
    return batch_axes(read_model(save(folder, model)))


def cnn() -> Any:
    return one(
        [
            node("Conv", "x w b", "a", pads=[1, 1, 1, 1], strides=[2, 2]),
            node("BatchNormalization", "a s s b v", "n"),
            node("Relu", "n", "r"),
            node("MaxPool", "r", "p", kernel_shape=[2, 2]),
            node("GlobalAveragePool", "p", "g"),
            node("Flatten", "g", "f"),
            node("Gemm", "f k", "z"),
            node("Softmax", "z", "y", axis=1),
        ],
        ["N", 3, 16, 16],
        w=weights(8, 3, 3, 3),
        b=weights(8),
        s=weights(8),
        v=np.ones(8, np.float32),
        k=weights(8, 5),
    )


def attention() -> Any:
    """Four heads, with shapes computed as PyTorch's exporter writes them."""
    nodes = [node("Shape", "x", "shape"), node("Gather", "shape zero", "n", axis=0)]
    nodes += [node("Gather", "shape one", "t", axis=0)]
    nodes += [node("Unsqueeze", "n first", "n1"), node("Unsqueeze", "t first", "t1")]
    nodes += [node("Concat", "n1 t1 four two", "split", axis=0)]
    for name in "qkv":
        nodes += [node("MatMul", f"x w{name}", f"{name}0")]
        nodes += [node("Reshape", f"{name}0 split", f"{name}1")]
        perm = [0, 2, 3, 1] if name == "k" else [0, 2, 1, 3]
        nodes += [node("Transpose", f"{name}1", name, perm=perm)]
    nodes += [node("MatMul", "q k", "s"), node("Div", "s root", "d"), node("Softmax", "d", "p")]
    nodes += [node("MatMul", "p v", "c"), node("Transpose", "c", "c1", perm=[0, 2, 1, 3])]
    nodes += [node("Concat", "n1 t1 eight", "join", axis=0), node("Reshape", "c1 join", "o")]
    nodes += [node("Reshape", "o flat", "f"), node("MatMul", "f wo", "m")]
    nodes += [node("Reshape", "m join", "h"), node("Add", "h x", "r")]
    nodes += [
        node("LayerNormalization", "r g g", "l"),
        node("ReduceMean", "l", "y", axes=[1], keepdims=0),
    ]
    return one(
        nodes,
        ["N", "T", 8],
        zero=np.array(0),
        one=np.array(1),
        first=np.array([0]),
        four=np.array([4]),
        two=np.array([2]),
        eight=np.array([8]),
        flat=np.array([-1, 8]),
        root=np.array(1.4, np.float32),
        g=weights(8),
        **{f"w{name}": weights(8, 8) for name in "qkvo"},
    )


def lstm(time_first: bool = False) -> Any:
    """x [N, T, 4]; with time_first its axis 0 is given to the LSTM as time."""
    start = [] if time_first else [node("Transpose", "x", "t", perm=[1, 0, 2])]
    run = node("LSTM", ("x" if time_first else "t") + " w r", "_ h", hidden_size=3)
    nodes = [*start, run, node("Squeeze", "h first", "y")]
    return one(nodes, ["N", 5, 4], w=weights(1, 12, 4), r=weights(1, 12, 3), first=np.array([0]))


def stateful() -> Any:
    """x [N, 4] and a state [1, N, 3] whose batch is on axis 1."""
    nodes = [
        node("Unsqueeze", "x first", "t"),
        node("GRU", "t w r _ _ h", "_ hn", hidden_size=3),
        node("Squeeze", "hn first", "y"),
    ]
    return make(
        nodes,
        [info("x", ["N", 4]), info("h", [1, "M", 3])],
        [info("y", None), info("hn", None)],
        {"w": weights(1, 9, 4), "r": weights(1, 9, 3), "first": np.array([0])},
    )


def loop() -> Any:
    """Three rounds of h = tanh(h + x), the sums of all rounds stacked."""
    body = helper.make_graph(
        [
            node("Add", "h x", "a"),
            node("Tanh", "a", "h2"),
            node("ReduceSum", "h2 one", "s", keepdims=0),
            node("Identity", "c", "c2"),
        ],
        "body",
        [info("i", [], INT64), info("c", [], TensorProto.BOOL), info("h", ["N", 4])],
        [info("c2", [], TensorProto.BOOL), info("h2", ["N", 4]), info("s", ["N"])],
    )
    run = helper.make_node("Loop", ["three", "", "x"], ["z", "sums"], name="the Loop", body=body)
    last = node("Transpose", "sums", "t", perm=[1, 0])
    return one(
        [run, last, node("Concat", "z t", "y", axis=1)],
        ["N", 4],
        three=np.array(3),
        one=np.array([1]),
    )


def zeros() -> Any:
    """A first state that is zeros for as many rows as there are."""
    return one(
        [
            node("Shape", "x", "s"),
            node("Slice", "s first second", "n"),
            node("Concat", "second n three", "shape", axis=0),
            node("ConstantOfShape", "shape", "h"),
            node("Transpose", "x", "t", perm=[1, 0, 2]),
            node("GRU", "t w r _ _ h", "_ hn", hidden_size=3),
            node("Squeeze", "hn first", "y"),
        ],
        ["N", 5, 4],
        first=np.array([0]),
        second=np.array([1]),
        three=np.array([3]),
        w=weights(1, 9, 4),
        r=weights(1, 9, 3),
    )


def choice() -> Any:
    """If over a shared flag."""
    then = helper.make_graph([node("Neg", "x", "a")], "t", [], [info("a", None)])
    other = helper.make_graph([node("Exp", "x", "b")], "e", [], [info("b", None)])
    branch = helper.make_node("If", ["flag"], ["y"], then_branch=then, else_branch=other)
    inputs = [info("x", ["N", 4]), info("flag", [], TensorProto.BOOL)]
    return make([branch], inputs, [info("y", None)])


GOOD: dict[str, Any] = {
    "mlp": mlp(),
    "cnn": cnn(),
    "attention": attention(),
    "lstm": lstm(),
    "stateful": stateful(),
    "loop": loop(),
    "zeros": zeros(),
    "choice": choice(),
    "embedding": make(
        [node("Gather", "table x", "e"), node("ReduceMax", "e", "y", axes=[1], keepdims=0)],
        [info("x", ["N", 6], INT64)],
        [info("y", None)],
        {"table": weights(5, 3)},
    ),
    "einsum": one(
        [node("Einsum", "x w", "y", equation="nti,io->nto")], ["N", 5, 4], w=weights(4, 3)
    ),
    "time folded in": one(
        [
            node("Reshape", "x fold", "f"),
            node("MatMul", "f w", "m"),
            node("Reshape", "m unfold", "y"),
        ],
        ["N", 5, 4],
        fold=np.array([-1, 4]),
        unfold=np.array([-1, 5, 3]),
        w=weights(4, 3),
    ),
    "topk": one([node("TopK", "x k", "y i", axis=1)], ["N", 6], k=np.array([2])),
    "split": one([node("Split", "x", "a b", axis=1), node("Mul", "a b", "y")], ["N", 6]),
    "expand": one(
        [
            node("Shape", "x", "s"),
            node("Expand", "token s", "e"),
            node("Concat", "e x", "y", axis=1),
        ],
        ["N", 6],
        token=weights(1, 1),
    ),
    "resize": one(
        [node("Resize", "x _ scales", "y", mode="nearest")],
        ["N", 1, 4, 4],
        scales=np.array([1, 1, 2, 2], np.float32),
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_rows_that_stay_apart_may_be_batched(tmp_path: Path, name: str, seed: int) -> None:
    path = save(tmp_path, GOOD[name])
    model = read_model(path)
    verdict = batch_axes(model)
    assert verdict.proved, verdict.reason
    assert verdict.inputs is not None
    alone: list[Arrays] = []
    for row in range(4):
        drawn = random_inputs(model, {"T": 5}, seed + row)
        shared = {name: alone[0][name] for name in verdict.shared} if alone else {}
        alone.append({**drawn, **shared})
    assert difference(session(str(path)), verdict, alone) < 1e-5


def test_axes_are_named(tmp_path: Path) -> None:
    assert verdict_of(tmp_path, mlp()).inputs == {"x": 0}
    found = verdict_of(tmp_path, stateful())
    assert found.inputs == {"x": 0, "h": 1}
    assert found.outputs == {"y": 0, "hn": 1}
    found = verdict_of(tmp_path, choice())
    assert found.inputs == {"x": 0, "flag": None}
    assert found.shared == ("flag",)


BAD: dict[str, tuple[Any, str, str]] = {
    "time on axis 0": (lstm(time_first=True), "LSTM", "through time"),
    "maximum of all": (
        one([node("ReduceMax", "x", "m"), node("Div", "x m", "y")], ["N", 4]),
        "ReduceMax",
        "reduces over axis 0",
    ),
    "one answer": (
        one([node("ReduceMean", "x", "y", axes=[0], keepdims=0)], ["N", 4]),
        "ReduceMean",
        "reduces",
    ),
    "softmax of rows": (one([node("Softmax", "x", "y", axis=0)], ["N", 4]), "Softmax", "axis 0"),
    "old softmax": (
        one([node("Softmax", "x", "y", axis=0)], ["N", 4], opset=11),
        "Softmax",
        "normalizes",
    ),
    "sums the rows": (
        one([node("Transpose", "x", "t"), node("MatMul", "t x", "y")], ["N", 4]),
        "MatMul",
        "",
    ),
    "first row": (
        one([node("Gather", "x i", "y")], ["N", 4], i=np.array([0])),
        "Gather",
        "gathers",
    ),
    "all but one": (
        one([node("Slice", "x a b", "y")], ["N", 4], a=np.array([1]), b=np.array([2**40])),
        "Slice",
        "cuts axis 0",
    ),
    "reversed": (
        one(
            [node("Slice", "x a b z a", "y")],
            ["N", 4],
            a=np.array([-1]),
            b=np.array([-(2**40)]),
            z=np.array([0]),
        ),
        "Slice",
        "",
    ),
    "joined": (one([node("Concat", "x x", "y", axis=0)], ["N", 4]), "Concat", "joins"),
    "sum so far": (one([node("CumSum", "x z", "y")], ["N", 4], z=np.array(0)), "CumSum", "sums"),
    "best rows": (
        one([node("TopK", "x k", "y i", axis=0)], ["N", 4], k=np.array([1])),
        "TopK",
        "axis 0",
    ),
    "padded": (
        one([node("Pad", "x p", "y")], ["N", 4], p=np.array([1, 0, 0, 0])),
        "Pad",
        "pads axis 0",
    ),
    "fixed rows": (
        one([node("Add", "x w", "y")], ["N", 4], w=weights(3, 4)),
        "Add",
        "its own value",
    ),
    "divided by the count": (
        one(
            [
                node("Shape", "x", "s", start=0, end=1),
                node("Cast", "s", "c", to=1),
                node("Div", "x c", "y"),
            ],
            ["N", 4],
        ),
        "Div",
        "number of rows",
    ),
    "position in the batch": (
        one(
            [
                node("Shape", "x", "s"),
                node("Gather", "s zero", "n"),
                node("Range", "zero n one", "r"),
                node("Unsqueeze", "r first", "u"),
                node("Cast", "u", "c", to=1),
                node("Add", "x c", "y"),
            ],
            ["N", 4],
            zero=np.array(0),
            one=np.array(1),
            first=np.array([1]),
        ),
        "Add",
        "number of rows",
    ),
    "the count itself": (one([node("Shape", "x", "y")], ["N", 4]), "Shape", "number of rows"),
    "pairs of rows": (
        one(
            [node("Unsqueeze", "x one", "u"), node("Sub", "u x", "y")], ["N", 4], one=np.array([1])
        ),
        "Sub",
        "rows on axis",
    ),
    "batch and time swapped": (
        one([node("Reshape", "x s", "y")], ["N", 6], s=np.array([6, -1])),
        "Reshape",
        "no longer has the rows",
    ),
    "several rows out": (
        one([node("Reshape", "x s", "y")], ["N", 6], s=np.array([-1, 3])),
        "Reshape",
        "2 rows for each row",
    ),
    "statistics": (
        one(
            [node("BatchNormalization", "x s s s s", "y m v", training_mode=1)],
            ["N", 4],
            s=np.ones(4, np.float32),
        ),
        "BatchNormalization",
        "training_mode",
    ),
    "range of all": (
        one([node("DynamicQuantizeLinear", "x", "y s z")], ["N", 4]),
        "DynamicQuantizeLinear",
        "not known",
    ),
    "random": (one([node("RandomNormalLike", "x", "y")], ["N", 4]), "RandomNormalLike", "random"),
    "unknown op": (
        make(
            [helper.make_node("Strange", ["x"], ["y"], domain="mine", name="s")],
            [info("x", ["N", 4])],
            [info("y", ["N", 4])],
            opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)],
        ),
        "Strange",
        "not known",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_mixes_rows_is_named(tmp_path: Path, name: str) -> None:
    model, op, reason = BAD[name]
    verdict = verdict_of(tmp_path, model)
    assert not verdict.proved
    assert verdict.outputs is None
    assert verdict.op == op
    assert reason in verdict.reason


def test_a_fixed_batch_is_none(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path, one([node("Relu", "x")], [1, 4]))
    assert not verdict.proved
    assert "free size" in verdict.reason


# The free sizes of the real models beside their rows.
SIZES = {
    "ocr4-det": {"p2o.DynamicDimension.1": 64, "p2o.DynamicDimension.2": 96},
    "ocr4-rec": {"?x.2": 48, "p2o.DynamicDimension.1": 160},
    "ocr2-cls": {"?x.2": 48, "?x.3": 192},
    "nudenet": {"height": 64, "width": 64},
    "silero-vad-state": {"sequence": 576},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", real_models.MODELS)
def test_real_models(name: str) -> None:
    path = real_models.fetch(name)
    model = read_model(path)
    verdict = batch_axes(model)
    assert verdict.proved == real_models.MODELS[name].batched, verdict.reason
    if name == "silero-vad-state":  # it keeps rows apart at the length that it was made for
        verdict = batch_axes(model, {"sequence": 576})
        assert verdict.inputs == {"input": 0, "state": 1, "sr": None}, verdict.reason
    if verdict.proved:
        alone = []
        for row in range(3):
            drawn = random_inputs(model, SIZES.get(name, {}), row)
            fixed = {shared: np.array(16000) for shared in verdict.shared}
            alone.append({**drawn, **fixed})
        assert difference(session(str(path)), verdict, alone) < 1e-4
