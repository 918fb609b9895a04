"""Each pass: the nodes before and after, the same values, and what it must leave alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pelton.compiler import ROWS, TOKENS, Activation, Binary, Graph, GraphBuilder, Pooling
from pelton.compiler.ir import Node, Op
from pelton.compiler.passes import (
    fuse_activation,
    fuse_bias,
    fuse_residual,
    merge_qkv,
    remove_dead_code,
    run_passes,
)
from python.compiler.interpreter import interpret

LENGTHS = (3, 1, 4)
Pass = Callable[[Graph], Graph]


def ops(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def check(graph: Graph, run: Pass, before: str, after: str) -> Graph:
    """The ops before and after the pass, and equal outputs on random inputs."""
    assert ops(graph) == before.split()
    changed = run(graph)
    assert ops(changed) == after.split()
    rows = sum(LENGTHS)
    inputs = {t.name: random(rows, *t.dims[1:]).astype(np.float64) for t in graph.inputs}
    expected = interpret(graph, inputs, LENGTHS)
    actual = interpret(changed, inputs, LENGTHS)
    assert list(actual) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(actual[name], values, rtol=1e-12, atol=1e-14)
    read = {name for node in changed.nodes for name in node.reads()}
    written = {node.output for node in changed.nodes}
    assert read | written <= set(changed.tensors)
    return changed


def build(make: Callable[[GraphBuilder, str], str]) -> Graph:
    """A graph over x [rows, 4] whose output y is what `make` returns."""
    builder = GraphBuilder("test")
    builder.output("y", make(builder, builder.input("x", (ROWS, 4))))
    return builder.build()


def only_gemm(graph: Graph) -> Node:
    (node,) = (n for n in graph.nodes if n.op is Op.GEMM)
    return node


def test_bias_is_fused() -> None:
    graph = build(lambda b, x: b.binary(b.gemm(x, random(4, 3)), random(3), Binary.ADD))
    node = only_gemm(check(graph, fuse_bias, "GEMM BINARY", "GEMM"))
    assert node.operand("bias") is not None
    assert node.output == "y"


@pytest.mark.parametrize(
    "make",
    [
        lambda b, x: b.binary(b.gemm(x, random(4, 3)), random(3), Binary.MULTIPLY),
        lambda b, x: b.binary(b.gemm(x, random(4, 3)), 1.0, Binary.ADD),
        lambda b, x: b.binary(b.gemm(x, random(4, 3), random(3)), random(3), Binary.ADD),
        lambda b, x: b.binary(
            b.gemm(x, random(4, 3), activation=Activation.RELU), random(3), Binary.ADD
        ),
        lambda b, x: b.binary(b.gemm(x, random(4, 4), residual=x), random(4), Binary.ADD),
        lambda b, x: b.binary(b.gemm(x, random(4, 4)), x, Binary.ADD),
    ],
)
def test_what_is_no_bias_stays(make: Callable[[GraphBuilder, str], str]) -> None:
    check(build(make), fuse_bias, "GEMM BINARY", "GEMM BINARY")


def test_a_gemm_with_two_readers_stays() -> None:
    def make(b: GraphBuilder, x: str) -> str:
        product = b.gemm(x, random(4, 4))
        return b.binary(b.binary(product, random(4), Binary.ADD), product, Binary.MULTIPLY)

    check(build(make), fuse_bias, "GEMM BINARY BINARY", "GEMM BINARY BINARY")


def test_a_gemm_that_is_an_output_stays() -> None:
    builder = GraphBuilder("outputs")
    product = builder.gemm(builder.input("x", (ROWS, 4)), random(4, 3))
    builder.output("product", product)
    builder.output("biased", builder.binary(product, random(3), Binary.ADD))
    check(builder.build(), fuse_bias, "GEMM BINARY", "GEMM BINARY")


@pytest.mark.parametrize("activation", list(Activation))
def test_activation_is_fused(activation: Activation) -> None:
    graph = build(lambda b, x: b.activation(b.gemm(x, random(4, 3), random(3)), activation))
    node = only_gemm(check(graph, fuse_activation, "GEMM ACTIVATION", "GEMM"))
    assert node.attributes["activation"] == activation


@pytest.mark.parametrize(
    "make",
    [
        lambda b, x: b.activation(b.gemm(x, random(4, 4), residual=x), Activation.TANH),
        lambda b, x: b.activation(
            b.gemm(x, random(4, 4), activation=Activation.RELU), Activation.TANH
        ),
    ],
)
def test_an_activation_that_comes_too_late_stays(
    make: Callable[[GraphBuilder, str], str],
) -> None:
    check(build(make), fuse_activation, "GEMM ACTIVATION", "GEMM ACTIVATION")


@pytest.mark.parametrize("gemm_first", [True, False])
def test_residual_is_fused(gemm_first: bool) -> None:
    def make(b: GraphBuilder, x: str) -> str:
        product = b.gemm(x, random(4, 4), random(4), activation=Activation.GELU_ERF)
        return b.binary(*((product, x) if gemm_first else (x, product)), Binary.ADD)

    node = only_gemm(check(build(make), fuse_residual, "GEMM BINARY", "GEMM"))
    assert node.operand("residual") == "x"


def test_a_residual_computed_after_the_gemm_is_fused() -> None:
    def make(b: GraphBuilder, x: str) -> str:
        product = b.gemm(x, random(4, 4))
        return b.binary(product, b.activation(x, Activation.SILU), Binary.ADD)

    check(build(make), fuse_residual, "GEMM ACTIVATION BINARY", "ACTIVATION GEMM")


def test_of_two_gemms_one_takes_the_other_as_residual() -> None:
    def make(b: GraphBuilder, x: str) -> str:
        return b.binary(b.gemm(x, random(4, 3)), b.gemm(x, random(4, 3)), Binary.ADD)

    check(build(make), fuse_residual, "GEMM GEMM BINARY", "GEMM GEMM")


@pytest.mark.parametrize(
    "make",
    [
        lambda b, x: b.binary(b.gemm(x, random(4, 4)), x, Binary.SUBTRACT),
        lambda b, x: b.binary(b.gemm(x, random(4, 4), residual=x), x, Binary.ADD),
        lambda b, x: (lambda p: b.binary(p, p, Binary.ADD))(b.gemm(x, random(4, 4))),
    ],
)
def test_what_is_no_residual_stays(make: Callable[[GraphBuilder, str], str]) -> None:
    check(build(make), fuse_residual, "GEMM BINARY", "GEMM BINARY")


def attention(
    x_of_v: str = "x", biases: tuple[bool, bool, bool] = (True, True, True), extra_use: bool = False
) -> Graph:
    builder = GraphBuilder("attention")
    x = builder.input("x", (TOKENS, 6))
    other = builder.input("other", (TOKENS, 6))
    sources = (x, x, x if x_of_v == "x" else other)
    q, k, v = (
        builder.gemm(s, random(6, 6) * (i + 1), random(6) if biased else None)
        for i, (s, biased) in enumerate(zip(sources, biases, strict=True))
    )
    context = builder.attention(q, k, v, 2)
    builder.output("y", builder.pool(context, Pooling.MEAN))
    if extra_use:
        builder.output("k", builder.pool(k, Pooling.MAX))
    return builder.build()


@pytest.mark.parametrize("biased", [True, False])
def test_q_k_and_v_become_one_gemm(biased: bool) -> None:
    graph = attention(biases=(biased,) * 3)
    changed = check(graph, merge_qkv, "GEMM GEMM GEMM ATTENTION POOL", "GEMM ATTENTION POOL")
    gemm = only_gemm(changed)
    assert changed.tensors[gemm.output].dims == (TOKENS, 18)
    assert (gemm.operand("bias") is not None) is biased
    assert changed.nodes[1].inputs == (gemm.output, None, None)


@pytest.mark.parametrize(
    "graph",
    [attention(x_of_v="other"), attention(biases=(True, False, True)), attention(extra_use=True)],
    ids=["two inputs", "one without bias", "k is read elsewhere"],
)
def test_products_that_cannot_be_merged_stay(graph: Graph) -> None:
    assert ops(merge_qkv(graph)) == ops(graph)


def test_two_layers_are_merged_apart() -> None:
    builder = GraphBuilder("layers")
    x = builder.input("x", (TOKENS, 6))
    for layer in range(2):
        q, k, v = (builder.gemm(x, random(6, 6) + layer + i, random(6)) for i in range(3))
        x = builder.attention(q, k, v, 3)
    builder.output("y", builder.pool(x, Pooling.CLS))
    check(
        builder.build(),
        merge_qkv,
        "GEMM GEMM GEMM ATTENTION GEMM GEMM GEMM ATTENTION POOL",
        "GEMM ATTENTION GEMM ATTENTION POOL",
    )


def test_dead_code_is_removed_but_inputs_stay() -> None:
    builder = GraphBuilder("dead")
    x = builder.input("x", (ROWS, 4))
    builder.input("unused", (ROWS, 2))
    builder.activation(builder.gemm(x, builder.weight(random(4, 3), "lost")), Activation.RELU)
    builder.output("y", builder.binary(x, 1.0, Binary.ADD))
    changed = check(builder.build(), remove_dead_code, "GEMM ACTIVATION BINARY", "BINARY")
    assert "lost" not in changed.tensors
    assert [t.name for t in changed.inputs] == ["x", "unused"]


def test_all_passes_on_a_layer() -> None:
    def linear(b: GraphBuilder, x: str, depth: int, columns: int) -> str:
        return b.binary(b.gemm(x, random(depth, columns)), random(columns), Binary.ADD)

    builder = GraphBuilder("layer")
    x = builder.input("x", (TOKENS, 6))
    q, k, v = (linear(builder, x, 6, 6) for _ in range(3))
    out = linear(builder, builder.attention(q, k, v, 2), 6, 6)
    x = builder.binary(out, x, Binary.ADD)
    x = builder.layer_norm(x, builder.weight(random(6)), builder.weight(random(6)), 1e-5)
    up = builder.activation(linear(builder, x, 6, 9), Activation.GELU_ERF)
    x = builder.binary(linear(builder, up, 9, 6), x, Binary.ADD)
    builder.output("y", builder.pool(x, Pooling.MEAN))
    check(
        builder.build(),
        run_passes,
        "GEMM BINARY GEMM BINARY GEMM BINARY ATTENTION GEMM BINARY BINARY LAYER_NORM "
        "GEMM BINARY ACTIVATION GEMM BINARY BINARY POOL",
        "GEMM ATTENTION GEMM LAYER_NORM GEMM GEMM POOL",
    )


def test_a_merged_gemm_takes_no_name_that_is_there() -> None:
    builder = GraphBuilder("names")
    x = builder.input("x", (TOKENS, 6))
    taken = builder.weight(random(6), "context.qkv.bias")
    q, k, v = (builder.gemm(x, random(6, 6) + i, random(6)) for i in range(3))
    context = builder.label("context", builder.attention(q, k, v, 2))
    builder.output("y", builder.pool(builder.binary(context, taken, Binary.ADD), Pooling.MEAN))
    check(
        builder.build(),
        merge_qkv,
        "GEMM GEMM GEMM ATTENTION BINARY POOL",
        "GEMM ATTENTION BINARY POOL",
    )
