"""What a backend's input adapter hands to the engine, and how it is cut into batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pelton._specs import TensorSpec
from pelton.backends._arrays import wrong
from pelton.backends.types import Array, InputValue
from pelton.errors import InvalidInput

__all__ = ["Prepared", "check_names", "check_outputs", "cut_rows"]


class Prepared(NamedTuple):
    """Checked inputs in the plan's order and dtypes. `lengths` is int32 [rows] for ragged models,
    None for dense ones."""

    arrays: Sequence[Array]
    rows: int
    lengths: npt.NDArray[np.int32] | None = None
    truncated: int = 0

    @property
    def token_count(self) -> int:
        return 0 if self.lengths is None else int(self.lengths.sum(dtype=np.int64))


def check_names(inputs: Mapping[str, InputValue], specs: Sequence[TensorSpec]) -> None:
    """Raises `InvalidInput` unless the inputs are exactly those of `specs`."""
    names = [spec.name for spec in specs]
    for name in inputs:
        if name not in names:
            raise InvalidInput(
                f"input {name!r}: the model has no such input; its inputs are {', '.join(names)}",
                tensor=name,
                expected=", ".join(names),
                got=name,
            )
    for name in names:
        if name not in inputs:
            raise wrong(name, "a tensor", "none")


def check_outputs(wanted: Sequence[str], known: Sequence[str]) -> None:
    """Raises `InvalidInput` for an output that the model lacks, or that is asked for twice."""
    names = ", ".join(known)
    for name in wanted:
        if name not in known:
            raise InvalidInput(
                f"output {name!r}: the model has no such output; its outputs are {names}",
                tensor=name,
                expected=names,
                got=name,
            )
        if list(wanted).count(name) > 1:
            raise InvalidInput(
                f"output {name!r}: expected it once, got it twice",
                tensor=name,
                expected="each output once",
                got="twice",
            )


def cut_rows(prepared: Prepared, rows_max: int, tokens_max: int) -> Iterator[tuple[slice, slice]]:
    """The request in pieces that fill a batch each, as (rows, tokens) slices, in order.

    A row of more than `tokens_max` tokens is a piece of its own. For dense models the slice of
    tokens is that of rows.
    """
    if prepared.lengths is None:
        for begin in range(0, prepared.rows, rows_max):
            rows = slice(begin, min(begin + rows_max, prepared.rows))
            yield rows, rows
        return
    starts = np.zeros(prepared.rows + 1, np.int64)
    np.cumsum(prepared.lengths, out=starts[1:])
    begin = 0
    while begin < prepared.rows:
        fits = int(np.searchsorted(starts, starts[begin] + tokens_max, side="right")) - 1
        end = max(begin + 1, min(fits, begin + rows_max, prepared.rows))
        yield slice(begin, end), slice(int(starts[begin]), int(starts[end]))
        begin = end
