"""Whether rows of different callers may share a batch: found out by running the model.

Real models declare a batch axis and do not honour it: a maximum over all axes, time on axis 0, a
mean over the batch, one answer for N rows. So nothing is believed: seeded sets of rows that are
unlike each other go through the model together and alone, and unless each row's answer is the same
both times, requests are run whole, one after the other.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from pelton.backends.types import NUMPY_DTYPES, Array
from pelton.errors import Error

__all__ = ["CHECK_VERSION", "SETS", "BatchVerdict", "FreeTensor", "agreed", "check_batching"]

#: Changes when a verdict that was remembered may be another today.
CHECK_VERSION: Final = 1
#: Sets of rows; fewer, but `_SETS_MIN`, where the model takes too long for all.
SETS: Final = 8
_SETS_MIN: Final = 3
_SECONDS_MAX: Final = 10.0
#: Largest difference, relative to the largest magnitude of the row's output.
_TOLERANCE: Final = 1e-5
_TOLERANCE_FP16: Final = 2e-3
#: Rows of the requests that run together.
_PARTS: Final = (1, 2, 1)
_SLOW_RUN_S: Final = 0.05
_PARTS_SLOW: Final = (1, 1)
#: Sizes tried for free dimensions other than the batch.
_SIZES: Final = (8, 32, 16, 64, 96, 224, 5, 3, 2, 1)
#: Integers are drawn from 0 up to these: ids of unknown tables must be small, masks are 0 and 1.
_HIGHEST: Final = (999, 99, 9, 1, 0)
_ROW_BYTES_MAX: Final = 64 << 20
_SEED: Final = 20_090
#: The set whose integers are the lowest and the highest, and nothing else.
_EXTREMES: Final = 3


class FreeTensor(NamedTuple):
    """An input or output as the model declares it. A dimension is its size, the name of a free
    one, or None for a free one without a name; `shape` is None where the rank is not declared."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None

    def is_free(self, axis: int) -> bool:
        return self.shape is None or not isinstance(self.shape[axis], int)

    @property
    def free_axes(self) -> tuple[int, ...]:
        return tuple(a for a in range(len(self.shape or ())) if self.is_free(a))


class BatchVerdict(NamedTuple):
    """On which axis of each input and output the rows lie; None: the tensor has no rows (an input
    that all callers of a batch must share). Where `batched` is False requests run whole, and
    `reason` (and `blocking_op`, where it is known) says why."""

    batched: bool
    reason: str
    inputs: tuple[int | None, ...] = ()
    outputs: tuple[int | None, ...] = ()
    blocking_op: str | None = None

    def to_json(self, inputs: Sequence[str], outputs: Sequence[str]) -> dict[str, Any]:
        """For metadata: axes by name."""
        facts: dict[str, Any] = {"batched": self.batched, "reason": self.reason}
        if self.batched:
            facts["input_axes"] = dict(zip(inputs, self.inputs, strict=True))
            facts["output_axes"] = dict(zip(outputs, self.outputs, strict=True))
        if self.blocking_op is not None:
            facts["blocking_op"] = self.blocking_op
        return facts


Run = Callable[[Mapping[str, Array]], Sequence[Array]]
_Axes = tuple[int | None, ...]


def agreed(numeric: BatchVerdict, analysis: BatchVerdict | None) -> BatchVerdict:
    """Rows are shared only where the check and the analysis of the graph, when there is one, say
    so of the same axes."""
    if analysis is None or not numeric.batched:
        return numeric
    if not analysis.batched:
        return analysis
    if (analysis.inputs, analysis.outputs) != (numeric.inputs, numeric.outputs):
        return BatchVerdict(False, "the analysis of the graph and the check found different axes")
    return numeric


def check_batching(
    inputs: Sequence[FreeTensor],
    outputs: Sequence[FreeTensor],
    run: Run,
    *,
    axes: Sequence[int | None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    seconds_max: float = _SECONDS_MAX,
) -> BatchVerdict:
    """Runs the model on made-up rows; `run` raises `Error` for inputs that it does not take. `axes`
    are those of the inputs to check, by default all that may be. Takes about `seconds_max` at most,
    and one run of the model."""
    reasons: list[str] = []
    ends = clock() + seconds_max
    for candidate in _candidates(inputs) if axes is None else [tuple(axes)]:
        verdict = _Check(inputs, outputs, candidate, run, clock, ends).verdict()
        if verdict.batched:
            return verdict
        reasons.append(verdict.reason)
    if not reasons:
        return BatchVerdict(False, "no input declares a free dimension that could be a batch")
    return BatchVerdict(False, reasons[0])


def _candidates(inputs: Sequence[FreeTensor]) -> Iterator[_Axes]:
    """Axes of the inputs that may be the batch: those of one name, axis 0, the only free one."""
    seen: set[_Axes] = set()

    def fresh(axes: _Axes) -> Iterator[_Axes]:
        if any(axis is not None for axis in axes) and axes not in seen:
            seen.add(axes)
            yield axes

    if any(tensor.shape is None for tensor in inputs):
        return
    yield from fresh(tuple(0 if t.shape and t.is_free(0) else None for t in inputs))
    first = [_first_free(tensor) for tensor in inputs]
    yield from fresh(tuple(first))
    names = {d for t in inputs for d in t.shape or () if isinstance(d, str)}
    for name in sorted(names):
        at = [[a for a, d in enumerate(t.shape or ()) if d == name] for t in inputs]
        if all(len(axes) <= 1 for axes in at) and any(axes == [0] for axes in at):
            yield from fresh(tuple(axes[0] if axes else None for axes in at))


def _first_free(tensor: FreeTensor) -> int | None:
    """Axis 0 where that is free, else the only free axis."""
    free = tensor.free_axes
    return free[0] if free and (free[0] == 0 or len(free) == 1) else None


class _Refused(Exception):
    """The check ends: rows may not be shared."""


class _Check:
    """One candidate."""

    def __init__(
        self,
        inputs: Sequence[FreeTensor],
        outputs: Sequence[FreeTensor],
        axes: _Axes,
        run: Run,
        clock: Callable[[], float],
        ends: float,
    ) -> None:
        self._inputs = inputs
        self._outputs = outputs
        self._axes = axes
        self._run = run
        self._clock = clock
        self._ends = ends
        self._highest: dict[str, int] = {}
        self._parts: tuple[int, ...] = _PARTS
        # Whether rows that differ had answers that differ, by output: else nothing is proved.
        self._told_apart = [False] * len(outputs)

    def verdict(self) -> BatchVerdict:
        try:
            sizes = self._find_sizes()
            axes = self._find_output_axes(sizes[0])
            done = 0
            for number in range(SETS):
                if self._clock() >= self._ends:
                    break
                self._compare(number, sizes[number % len(sizes)], axes)
                done += 1
            if done < _SETS_MIN:
                raise _Refused(f"the model is too slow to be checked: {done} sets were run in time")
            for output, told_apart in zip(self._outputs, self._told_apart, strict=True):
                if not told_apart:
                    raise _Refused(
                        f"output {output.name!r} was the same for all rows tried, which proves "
                        "nothing"
                    )
        except _Refused as refused:
            return BatchVerdict(False, str(refused))
        except Error as error:
            return BatchVerdict(False, f"the model failed on inputs of the check: {error.message}")
        sets = "all" if done == SETS else f"{done} of"
        reason = f"{sets} {SETS} sets of rows gave the same answers together and alone"
        return BatchVerdict(True, reason, self._axes, axes)

    def _find_sizes(self) -> list[int]:
        """Up to two sizes of the free dimensions that the model takes."""
        free = any(
            not isinstance(dim, int) and axis != batch
            for tensor, batch in zip(self._inputs, self._axes, strict=True)
            for axis, dim in enumerate(tensor.shape or ())
        )
        has_integers = any(
            NUMPY_DTYPES.get(t.dtype, np.dtype("O")).kind in "iu" for t in self._inputs
        )
        found: list[int] = []
        error: Error | None = None
        for size in _SIZES if free else _SIZES[:1]:
            for highest in _HIGHEST if has_integers and not found else _HIGHEST[:1]:
                if not found:
                    self._highest = {tensor.name: highest for tensor in self._inputs}
                if self._clock() >= self._ends:
                    raise _Refused("no inputs that the model takes were found in time")
                try:
                    self._try(size)
                except Error as failure:
                    error = error or failure
                    continue
                found.append(size)
                break
            if len(found) == 2:
                return found
        if not found:
            assert error is not None
            raise error
        if has_integers:
            self._widen(found[0])
        return found

    def _try(self, size: int) -> None:
        self._run(self._rows(np.random.default_rng(_SEED), _EXTREMES, 2, size))
        started = self._clock()
        self._run(self._rows(np.random.default_rng(_SEED), 0, 2, size))
        if self._clock() - started > _SLOW_RUN_S:
            self._parts = _PARTS_SLOW

    def _widen(self, size: int) -> None:
        """Each integer input's range, as far as the model takes it while the others stay."""
        for tensor in self._inputs:
            kept = self._highest[tensor.name]
            for highest in _HIGHEST:
                if highest <= kept or self._clock() >= self._ends:
                    break
                self._highest[tensor.name] = highest
                try:
                    for seed in range(3):
                        self._run(self._rows(np.random.default_rng(seed), _EXTREMES, 2, size))
                    break
                except Error:
                    self._highest[tensor.name] = kept

    def _find_output_axes(self, size: int) -> tuple[int, ...]:
        """The axis of each output that has as many entries as there are rows, for any number."""
        random = np.random.default_rng(_SEED)
        counts = (2, 3, 1)
        shapes = [
            [a.shape for a in self._run(self._rows(random, 0, rows, size))] for rows in counts
        ]
        names = {
            t.shape[axis]
            for t, axis in zip(self._inputs, self._axes, strict=True)
            if axis is not None and t.shape is not None
        }
        axes = []
        for i, output in enumerate(self._outputs):
            ranks = {len(shape[i]) for shape in shapes}
            rank = ranks.pop()
            if ranks or (output.shape is not None and len(output.shape) != rank):
                raise _Refused(f"the rank of output {output.name!r} varies")
            fits = [
                axis
                for axis in range(rank)
                if output.is_free(axis)
                and all(shape[i][axis] == n for shape, n in zip(shapes, counts, strict=True))
            ]
            named = [
                a for a in fits if output.shape is not None and output.shape[a] in names - {None}
            ]
            if not fits:
                got = ", ".join(str(list(shape[i])) for shape in shapes)
                raise _Refused(
                    f"output {output.name!r} has no axis with one entry for each row: for 2, 3 and "
                    f"1 rows its shapes are {got}"
                )
            axes.append((named or fits)[0])
        return tuple(axes)

    def _compare(self, number: int, size: int, axes: Sequence[int]) -> None:
        random = np.random.default_rng(_SEED + number)
        total = sum(self._parts)
        feed = self._rows(random, number, total, size)
        together = self._run(feed)
        alone = []
        begin = 0
        for rows in self._parts:
            part = slice(begin, begin + rows)
            alone.append(self._run(self._cut(feed, part)))
            for i, (output, axis) in enumerate(zip(self._outputs, axes, strict=True)):
                _check_same(
                    output.name, number, _taken(together[i], axis, part), alone[-1][i], axis
                )
            begin += rows
        for i, axis in enumerate(axes):
            first = _taken(alone[0][i], axis, slice(0, 1))
            last = _taken(alone[-1][i], axis, slice(0, 1))
            self._told_apart[i] |= _differs_clearly(first, last)

    def _cut(self, feed: Mapping[str, Array], part: slice) -> dict[str, Array]:
        return {
            tensor.name: feed[tensor.name]
            if axis is None
            else np.array(_taken(feed[tensor.name], axis, part), order="C")
            for tensor, axis in zip(self._inputs, self._axes, strict=True)
        }

    def _rows(
        self, random: np.random.Generator, number: int, rows: int, size: int
    ) -> dict[str, Array]:
        feed = {}
        for tensor, batch in zip(self._inputs, self._axes, strict=True):
            dims = [dim if isinstance(dim, int) else size for dim in tensor.shape or ()]
            if batch is not None:
                dims[batch] = rows
            itemsize = 16 if tensor.dtype == "BYTES" else NUMPY_DTYPES[tensor.dtype].itemsize
            if math.prod(dims) * itemsize > _ROW_BYTES_MAX * rows:
                raise _Refused(f"input {tensor.name!r} is too large to be checked: {dims}")
            values = _values(random, tensor.dtype, dims, number, self._highest.get(tensor.name, 1))
            if batch is not None and NUMPY_DTYPES.get(tensor.dtype, np.dtype("O")).kind == "f":
                values = _unlike(random, values, batch, number)
            feed[tensor.name] = values
        return feed


def _values(
    random: np.random.Generator, dtype: str, dims: Sequence[int], number: int, highest: int
) -> Array:
    """Elements of set `number`: of a normal or flat distribution, small, large, or of pixels."""
    if dtype == "BYTES":
        words = np.array(["", "a", "Zebra", "17", "-3.5", "été", "x" * 40, "b c"], dtype=object)
        return np.asarray(words[random.integers(0, len(words), dims)], dtype=object).reshape(dims)
    wanted = NUMPY_DTYPES[dtype]
    if wanted.kind == "b":
        return random.random(dims) < 0.5
    if wanted.kind in "iu":
        top = min(highest, int(np.iinfo(wanted).max))
        values = random.integers(0, top, dims, endpoint=True)
        if number == _EXTREMES:
            values = np.where(random.random(dims) < 0.5, 0, top)
            values.reshape(-1)[:1] = top
        return np.asarray(values).astype(wanted)
    if number % 4 == 1:
        return np.asarray(random.random(dims)).astype(wanted)
    if number % 4 == 2:
        return np.asarray(random.random(dims) * 255).astype(wanted)
    return np.asarray(random.standard_normal(dims)).astype(wanted)


def _unlike(random: np.random.Generator, values: Array, batch: int, number: int) -> Array:
    """Rows of different magnitudes: one dwarfs the others, or is nought, or is constant."""
    rows = np.moveaxis(values, batch, 0)
    if number % 2 == 1 or len(rows) < 2:
        return values
    scales = np.array([1.0, 1e-3, 30.0, 1.0])[random.permutation(4)]
    for i in range(len(rows)):
        rows[i] *= values.dtype.type(scales[i % 4])
    if number == 4:
        rows[0] = 0
    if number == 6:
        rows[-1] = 1
    return values


def _taken(array: Array, axis: int, part: slice) -> Array:
    taken: Array = array[(slice(None),) * axis + (part,)]
    return taken


def _check_same(name: str, number: int, together: Array, alone: Array, axis: int) -> None:
    if together.shape != alone.shape:
        raise _Refused(
            f"output {name!r}: expected shape {list(alone.shape)}, as alone, got "
            f"{list(together.shape)} together with other rows (set {number + 1})"
        )
    if alone.dtype.kind != "f":
        if not np.array_equal(together, alone):
            raise _Refused(
                f"output {name!r} of a row is another together with other rows (set {number + 1})"
            )
        return
    tolerance = _TOLERANCE_FP16 if alone.dtype.itemsize == 2 else _TOLERANCE
    rows = zip(np.moveaxis(together, axis, 0), np.moveaxis(alone, axis, 0), strict=True)
    for ours, theirs in rows:
        difference = _difference(ours, theirs)
        if difference > tolerance:
            raise _Refused(
                f"output {name!r} of a row is another together with other rows: it differs by "
                f"{difference:.2g} of its magnitude, expected at most {tolerance:g} "
                f"(set {number + 1})"
            )


def _difference(ours: Array, theirs: Array) -> float:
    """The largest difference, relative to the largest magnitude. NaN and infinities must be the
    same."""
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    finite = np.isfinite(theirs)
    if not np.array_equal(ours[~finite], theirs[~finite], equal_nan=True):
        return math.inf
    if not np.isfinite(ours[finite]).all():
        return math.inf
    if not finite.any():
        return 0.0
    scale = float(np.abs(theirs[finite]).max())
    worst = float(np.abs(ours[finite] - theirs[finite]).max())
    return worst / scale if scale > 0 else (math.inf if worst > 0 else 0.0)


def _differs_clearly(first: Array, last: Array) -> bool:
    """Whether two rows' answers are finite and unlike: a mix of them would be seen."""
    if first.shape != last.shape:
        return True
    if first.dtype.kind != "f":
        return not np.array_equal(first, last)
    both = np.isfinite(first) & np.isfinite(last)
    return bool(both.any()) and _difference(first[both], last[both]) > 1e-3
