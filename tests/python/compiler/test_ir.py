"""The builder makes the graph that was asked for and refuses operands that do not fit."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from pelton.compiler import ROWS, TOKENS, Activation, Binary, GraphBuilder, Pooling
from pelton.compiler.ir import Op, Role
from python.compiler.interpreter import interpret


def weights(*shape: int) -> np.ndarray:
    return np.linspace(-1.0, 1.0, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def test_x_plus_one() -> None:
    builder = GraphBuilder("plus_one")
    x = builder.input("x", (ROWS, 3))
    builder.output("y", builder.binary(x, 1.0, Binary.ADD))
    graph = builder.build()
    assert [t.name for t in graph.inputs] == ["x"]
    assert [(t.name, t.role, t.dims) for t in graph.outputs] == [("y", Role.OUTPUT, (ROWS, 3))]
    assert not graph.ragged
    values = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(interpret(graph, {"x": values})["y"], values + 1)


def test_mlp() -> None:
    sizes = [5, 7, 3, 1]
    builder = GraphBuilder("mlp")
    x = builder.input("x", (ROWS, sizes[0]))
    layers = [(weights(k, n), weights(n)) for k, n in itertools.pairwise(sizes)]
    for weight, bias in layers[:-1]:
        x = builder.activation(builder.gemm(x, weight, bias), Activation.RELU)
    builder.output("y", builder.gemm(x, *layers[-1]))
    values = np.random.default_rng(1).normal(size=(4, 5))
    expected = values
    for weight, bias in layers[:-1]:
        expected = np.maximum(expected @ weight + bias, 0)
    expected = expected @ layers[-1][0] + layers[-1][1]
    np.testing.assert_allclose(interpret(builder.build(), {"x": values})["y"], expected)


def test_an_output_keeps_its_name_where_it_is_read() -> None:
    builder = GraphBuilder("two")
    x = builder.input("x", (ROWS, 2))
    first = builder.binary(x, 1.0, Binary.ADD)
    builder.output("first", first)
    builder.output("second", builder.binary(first, x, Binary.MULTIPLY))
    graph = builder.build()
    assert [t.name for t in graph.outputs] == ["first", "second"]
    assert graph.nodes[1].inputs == ("first", "x")


def test_an_input_named_like_a_made_up_name() -> None:
    builder = GraphBuilder("names")
    builder.input("binary_2", (ROWS, 2))
    builder.output("y", builder.binary("binary_2", 1.0, Binary.ADD))
    assert builder.build().nodes[0].output == "y"


def test_labels_are_names_in_the_graph() -> None:
    builder = GraphBuilder("labels")
    x = builder.input("x", (ROWS, 2))
    y = builder.label("middle", builder.binary(x, 1.0, Binary.ADD))
    z = builder.label("last", builder.binary(y, 2.0, Binary.MULTIPLY))
    builder.output("z", z)
    with pytest.raises(ValueError, match="taken"):
        builder.label("middle", builder.binary(y, 1.0, Binary.ADD))
    with pytest.raises(ValueError, match="taken"):
        builder.weight(weights(2), "middle")
    nodes = builder.build().nodes
    assert [node.output for node in nodes[:2]] == ["middle", "z"]
    assert nodes[1].inputs[0] == "middle"


def test_weights_become_float32_and_are_not_copied() -> None:
    builder = GraphBuilder("weights")
    array = weights(2, 2)
    name = builder.weight(array, "w")
    x = builder.input("x", (ROWS, 2))
    builder.output("y", builder.gemm(x, name, np.array([1, 2])))
    graph = builder.build()
    assert graph.tensors["w"].data is array
    assert all(t.data.dtype == np.float32 for t in graph.tensors.values() if t.data is not None)


def attention_scale(heads: int) -> float:
    builder = GraphBuilder("attention")
    x = builder.input("x", (TOKENS, 12))
    builder.output("y", builder.pool(builder.attention(x, x, x, heads), Pooling.CLS))
    (node,) = (n for n in builder.build().nodes if n.op is Op.ATTENTION)
    return node.attributes["scale"]


@pytest.mark.parametrize(("heads", "scale"), [(1, 12**-0.5), (3, 0.5), (12, 1.0)])
def test_scores_are_scaled_by_the_size_of_a_head(heads: int, scale: float) -> None:
    assert attention_scale(heads) == pytest.approx(scale, rel=1e-15)


Build = Callable[[GraphBuilder, str], object]


@pytest.mark.parametrize(
    ("message", "build"),
    [
        ("expected dims", lambda b, x: b.gemm(x, weights(3, 2))),
        ("expected dims", lambda b, x: b.gemm(x, weights(4, 2), weights(3))),
        ("expected dims", lambda b, x: b.gemm(x, weights(4, 2), residual=x)),
        (
            "expected dims",
            lambda b, x: b.layer_norm(x, b.weight(weights(4)), b.weight(weights(3)), 0),
        ),
        ("expected dims", lambda b, x: b.binary(x, weights(3), Binary.ADD)),
        ("expected dims", lambda b, x: b.binary(x, b.input("z", (ROWS, 4)), Binary.ADD)),
        ("heads that divide 4, got 3", lambda b, x: b.attention(x, x, x, 3)),
        ("heads that divide 4, got 0", lambda b, x: b.attention(x, x, x, 0)),
        ("the name is taken", lambda b, x: b.input("x", (ROWS, 1))),
        ("expected dims (ROWS or TOKENS", lambda b, x: b.input("z", (3, 1))),
        ("expected dims (ROWS or TOKENS", lambda b, x: b.input("z", (ROWS, 0))),
        ("at least one element", lambda b, x: b.weight(np.float32(1.0))),
        ("at least one element", lambda b, x: b.weight(np.zeros((0, 3)))),
        ("a computed tensor, once", lambda b, x: b.output("y", x)),
        ("at least one input and one output", lambda b, x: b.build()),
        ("name 'z': expected a computed tensor", lambda b, x: b.label("z", x)),
        (
            "tables of 4 columns",
            lambda b, x: b.embedding(x, b.weight(weights(5, 4)), positions=b.weight(weights(5, 3))),
        ),
    ],
)
def test_what_does_not_fit_is_refused(message: str, build: Build) -> None:
    builder = GraphBuilder("bad")
    x = builder.input("x", (TOKENS, 4))
    with pytest.raises(ValueError) as caught:
        build(builder, x)
    assert message in str(caught.value)


def test_an_output_is_named_once() -> None:
    builder = GraphBuilder("bad")
    y = builder.binary(builder.input("x", (ROWS, 1)), 1.0, Binary.ADD)
    builder.output("y", y)
    with pytest.raises(ValueError, match="once"):
        builder.output("z", y)
    with pytest.raises(ValueError, match="taken"):
        builder.output("y", builder.binary(y, 1.0, Binary.ADD))
