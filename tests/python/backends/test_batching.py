"""The check that proves batches, on functions that mix rows in every way."""

from __future__ import annotations

import numpy as np
import pytest

from pelton.backends.batching import SETS, BatchVerdict, FreeTensor, agreed, check_batching
from pelton.errors import InvalidInput

X = [FreeTensor("x", "FP32", ("N", 4))]
Y = [FreeTensor("y", "FP32", ("N", 4))]


def check(function, inputs=X, outputs=Y, **options) -> BatchVerdict:
    return check_batching(inputs, outputs, lambda feed: [function(**feed)], **options)


def test_rows_of_their_own_are_batched() -> None:
    verdict = check(lambda x: np.tanh(x))
    assert verdict.batched
    assert verdict.inputs == (0,)
    assert verdict.outputs == (0,)
    assert verdict.reason.startswith(f"all {SETS} sets")


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x - x.max(),
        lambda x: x - x.mean(axis=0),
        lambda x: np.cumsum(x, axis=0),
        lambda x: np.cumsum(x[::-1], axis=0)[::-1],
        lambda x: x[::-1],
        lambda x: np.sort(x, axis=0),
        lambda x: x + len(x),
        lambda x: x + np.arange(len(x), dtype=np.float32)[:, None],
        lambda x: x * np.float32(1 + 3e-5 * (len(x) > 1)),
        lambda x: np.where((np.abs(x) > 100).any(), -x, x),
        lambda x: np.where(np.isfinite(x).all() & (x == 0).all(axis=1).any(), 2 * x, x),
        lambda x: np.roll(x, 1, axis=0),
        lambda x: x * np.random.default_rng().random(),
    ],
)
def test_rows_that_mix_are_not(function) -> None:
    verdict = check(function)
    assert not verdict.batched
    assert "together with other rows" in verdict.reason


def test_noise_of_another_order_of_sums_is_allowed() -> None:
    assert check(lambda x: x * np.float32(1 + 1e-7 * len(x))).batched


def test_an_answer_that_never_differs_proves_nothing() -> None:
    assert "proves nothing" in check(lambda x: np.zeros_like(x)).reason
    assert "proves nothing" in check(lambda x: np.full_like(x, np.nan)).reason


def test_a_model_that_fails_is_not_batched() -> None:
    def fails(x):
        raise InvalidInput("no such thing")

    def fails_on_large(x):
        if np.abs(x).max() > 100:
            raise InvalidInput("too large")
        return x

    assert "no such thing" in check(fails).reason
    assert "too large" in check(fails_on_large).reason


def test_free_sizes_are_those_that_the_model_takes() -> None:
    def strides(x):
        if x.shape[2] % 32:
            raise InvalidInput("a multiple of 32")
        return x.mean(axis=2)

    inputs = [FreeTensor("x", "FP32", ("N", 4, "W"))]
    assert check(strides, inputs).batched


def test_integers_are_drawn_from_what_the_model_takes() -> None:
    seen = []

    def lookup(ids, mask):
        if ids.max() > 30 or mask.max() > 1:
            raise InvalidInput("out of the table")
        seen.append(int(ids.max()))
        return (ids * mask).astype(np.float32)

    inputs = [FreeTensor("ids", "INT64", ("N", 4)), FreeTensor("mask", "INT64", ("N", 4))]
    assert check(lookup, inputs).batched
    assert max(seen) == 9


def test_the_axis_is_found_where_it_is() -> None:
    inputs = [FreeTensor("state", "FP32", (2, None, 3))]
    outputs = [FreeTensor("next", "FP32", (None, None))]
    verdict = check(lambda state: state.sum(axis=0).T, inputs, outputs)
    assert (verdict.inputs, verdict.outputs) == ((1,), (1,))
    named = [FreeTensor("x", "FP32", ("T", "N")), FreeTensor("z", "FP32", ("N", 2))]

    def over_time(x, z):
        if x.shape[1] != z.shape[0]:
            raise InvalidInput("as many rows of z as columns of x")
        return np.cumsum(x, axis=0).T[:, :1] + z

    verdict = check(over_time, named, [Y[0]])
    assert (verdict.inputs, verdict.outputs) == ((1, 0), (0,))


def test_without_a_free_axis_there_is_no_batch() -> None:
    fixed = [FreeTensor("x", "FP32", (1, 4))]
    assert "no input declares a free dimension" in check(lambda x: x, fixed).reason
    unknown = [FreeTensor("x", "FP32", None)]
    assert "no input declares a free dimension" in check(lambda x: x, unknown).reason


def test_a_slow_model_is_checked_with_fewer_sets_or_not_at_all() -> None:
    class Clock:
        now = 0.0

        def __call__(self) -> float:
            return self.now

    def slow(step: float):
        clock = Clock()

        def function(x):
            clock.now += step
            return x

        return check(function, clock=clock, seconds_max=10.0)

    some = slow(0.5)
    assert some.batched
    assert some.reason.startswith("5 of 8 sets"), some.reason
    never = slow(2.0)
    assert not never.batched
    assert "too slow" in never.reason


def test_a_huge_input_is_not_made() -> None:
    inputs = [FreeTensor("x", "FP32", ("N", 1 << 20, 1 << 20))]
    assert "too large to be checked" in check(lambda x: x, inputs).reason


def test_check_and_analysis_must_agree() -> None:
    yes = BatchVerdict(True, "checked", (0,), (0,))
    no = BatchVerdict(False, "reduces axis 0", blocking_op="ReduceMax 'm'")
    other = BatchVerdict(True, "followed", (1,), (0,))
    assert agreed(yes, None) is yes
    assert agreed(yes, yes).batched
    assert agreed(yes, no) is no
    assert not agreed(no, yes).batched
    assert not agreed(yes, other).batched
