"""Padded token ids and their mask, as the ragged form that the engine takes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pelton.backends._arrays import wrong
from pelton.backends.types import Array

__all__ = ["check_ids", "check_lengths", "lengths_of", "take_tokens"]


def lengths_of(ids: Array, mask: Array | None) -> npt.NDArray[np.int32]:
    """The number of tokens of each row of `ids` [n, width]: the ones of its mask, which must come
    first. Raises `InvalidInput` naming the row where the mask is anything else."""
    rows, width = ids.shape
    if mask is None:
        return np.full(rows, width, np.int32)
    if mask.shape != ids.shape:
        raise wrong("attention_mask", f"shape {list(ids.shape)}", str(list(mask.shape)))
    _check_mask(mask)
    ones: npt.NDArray[np.int32] = np.count_nonzero(mask, axis=1).astype(np.int32)
    return ones


def check_lengths(lengths: npt.NDArray[np.int32], positions_max: int, tensor: str) -> None:
    """Raises `InvalidInput` naming the first row that has no token, or more than the model has
    positions for."""
    for row in np.flatnonzero((lengths < 1) | (lengths > positions_max))[:1].tolist():
        if lengths[row] < 1:
            raise wrong(tensor, "at least one token in each row", f"none in row {row}")
        expected = f"at most {positions_max} tokens in each row"
        raise wrong("input_ids", expected, f"{lengths[row]} in row {row}")


def _check_mask(mask: Array) -> None:
    other = (mask != 0) & (mask != 1)
    if other.any():
        row, column = (int(part) for part in np.argwhere(other)[0])
        raise wrong("attention_mask", "0 or 1", f"{mask[row, column]} at [{row}, {column}]")
    rises = mask[:, 1:] > mask[:, :-1]
    if rises.any():
        row, column = (int(part) for part in np.argwhere(rises)[0])
        raise wrong(
            "attention_mask",
            "the ones of a row before its zeros (padding on the right)",
            f"a one after a zero at [{row}, {column + 1}]",
        )


def take_tokens(padded: Array, lengths: npt.NDArray[np.int32]) -> Array:
    """The entries of `padded` [n, width] that are tokens, row after row. A view where none is
    padding."""
    width = padded.shape[1]
    if bool((lengths == width).all()):
        return padded.reshape(-1)
    kept: Array = padded[np.arange(width) < lengths[:, None]]
    return kept


def check_ids(
    ids: Array, lengths: npt.NDArray[np.int32], limit: int, tensor: str
) -> npt.NDArray[np.int32]:
    """Ragged ids as int32, each in [0, limit). Raises `InvalidInput` naming the row and column of
    the first that is not. (Ids in the padding are never looked at: exporters leave -1 there.)"""
    if len(ids) and (int(ids.min()) < 0 or int(ids.max()) >= limit):
        at = int(np.argmax((ids < 0) | (ids >= limit)))
        starts = np.cumsum(lengths, dtype=np.int64)
        row = int(np.searchsorted(starts, at, side="right"))
        column = at - (int(starts[row - 1]) if row else 0)
        raise wrong(tensor, f"ids from 0 to {limit - 1}", f"{ids[at]} at [{row}, {column}]")
    return ids.astype(np.int32, copy=False)
