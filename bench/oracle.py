"""The tests' float64 encoder, which every engine must agree with before it is timed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.machine import ROOT

__all__ = ["Difference", "difference", "expected_embeddings"]


class Difference:
    """How far embeddings of length 1 are from the oracle's: the largest absolute error, and the
    smallest cosine of a row."""

    def __init__(self, got: npt.NDArray[np.float32], expected: npt.NDArray[np.float64]) -> None:
        wide = got.astype(np.float64)
        self.error = float(np.abs(wide - expected).max())
        lengths = np.linalg.norm(wide, axis=1) * np.linalg.norm(expected, axis=1)
        self.cosine = float(((wide * expected).sum(axis=1) / lengths).min())


def expected_embeddings(folder: Path, rows: Sequence[Sequence[int]]) -> npt.NDArray[np.float64]:
    """float64 [rows, hidden]; slow: about a second for 600 tokens."""
    tests = str(ROOT / "tests")
    if tests not in sys.path:
        sys.path.append(tests)
    encoder: Any = import_module("python.oracle.encoder").OracleEncoder(folder)
    return np.stack([encoder.embed(row) for row in rows])


def difference(
    got: Sequence[npt.NDArray[np.float32]], expected: npt.NDArray[np.float64]
) -> Difference:
    """Of embeddings that came in batches."""
    return Difference(np.concatenate(list(got)), expected)
