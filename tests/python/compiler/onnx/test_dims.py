"""Sizes as polynomials, against the integers that they stand for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pelton.compiler.onnx import dims
from pelton.compiler.onnx.dims import Dim, Expr, symbol

N, T = symbol("n"), symbol("t")


def value(dim: Dim, **names: int) -> int:
    if isinstance(dim, int):
        return dim
    total = 0
    for parts, factor in dim.terms:
        for part in parts:
            factor *= names[part]
        total += factor
    return total


sizes = st.recursive(
    st.sampled_from([N, T, 0, 1, 2, 7]),
    lambda inner: st.builds(
        lambda op, a, b: op(a, b),
        st.sampled_from([dims.add, dims.multiply, dims.subtract]),
        inner,
        inner,
    ),
    max_leaves=5,
)


@given(sizes, sizes, st.integers(0, 9), st.integers(0, 9))
def test_arithmetic_agrees_with_integers(a: Dim, b: Dim, n: int, t: int) -> None:
    x, y = value(a, n=n, t=t), value(b, n=n, t=t)
    assert value(dims.add(a, b), n=n, t=t) == x + y
    assert value(dims.subtract(a, b), n=n, t=t) == x - y
    assert value(dims.multiply(a, b), n=n, t=t) == x * y
    quotient = dims.divide(a, b)
    if quotient is not None and y:
        assert value(quotient, n=n, t=t) * y == x


def test_equal_sizes_are_equal() -> None:
    assert dims.multiply(N, T) == dims.multiply(T, N)
    assert dims.subtract(dims.add(N, 3), N) == 3
    assert dims.divide(dims.product([N, T, 512]), 512) == dims.multiply(N, T)
    assert dims.divide(dims.product([N, T]), T) == N
    assert dims.divide(dims.add(N, T), N) is None
    assert dims.divide(7, 2) is None
    assert str(dims.add(dims.multiply(N, 2), dims.add(T, 1))) == "t + 2*n + 1"
    assert str(dims.subtract(1, N)) == "-n + 1"


def test_quotients_with_a_rest_get_a_name() -> None:
    half = dims.floor_divide(dims.subtract(T, 1), 2)
    assert half == dims.floor_divide(dims.subtract(T, 1), 2)
    assert isinstance(half, Expr)
    assert "//2" in str(half)
    assert dims.floor_divide(-7, 2) == -4
    assert dims.contains(half, "t")
    assert not dims.contains(half, "n")
    assert not dims.contains(4, "t")
    with pytest.raises(ZeroDivisionError):
        dims.floor_divide(N, 0)


def test_expressions_are_bounded() -> None:
    total: Dim = 0
    for index in range(dims.TERMS_MAX + 2):
        total = dims.add(total, symbol(f"s{index}"))
    assert isinstance(total, Expr)
    assert len(total.terms) <= dims.TERMS_MAX


def test_fresh_sizes_differ() -> None:
    assert dims.fresh("x") != dims.fresh("x")
