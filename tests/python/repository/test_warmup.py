"""The request that a model runs before others come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pelton import TensorSpec
from pelton.errors import Error, InvalidInput, InvalidSettings, Unavailable
from pelton.repository import warm_up


class Recorder:
    """Keeps what it was asked to run."""

    def __init__(self, *inputs: TensorSpec, fail: Error | None = None) -> None:
        self.inputs = inputs
        self.ran: list[dict[str, Any]] = []
        self._fail = fail

    def run(self, inputs: Any, *, deadline: float | None = None) -> None:
        assert deadline is not None
        self.ran.append(dict(inputs))
        if self._fail is not None:
            raise self._fail


def test_a_synthetic_request_fits_the_contract() -> None:
    specs = (
        TensorSpec("x", "FP32", (-1, 3, -1)),
        TensorSpec("ids", "INT64", (-1, 2)),
        TensorSpec("mask", "BOOL", (-1,)),
        TensorSpec("text", "BYTES", (-1,)),
    )
    first, second = Recorder(*specs), Recorder(*specs)
    for model in (first, second):
        warm_up(model, "m", None)
    (ran,) = first.ran
    assert (ran["x"].shape, ran["x"].dtype) == ((1, 3, 1), np.float32)
    assert (ran["ids"].shape, ran["ids"].dtype) == ((1, 2), np.int64)
    assert (ran["mask"].shape, ran["mask"].dtype) == ((1,), np.bool_)
    assert ran["text"] == ["warm up"]
    assert np.isfinite(ran["x"]).all()
    assert np.array_equal(ran["x"], second.ran[0]["x"])


def test_a_synthetic_request_that_fails_is_no_failure_to_load() -> None:
    for fail in (InvalidInput("no"), Unavailable("no")):
        model = Recorder(TensorSpec("x", "FP32", (-1, 3)), fail=fail)
        warm_up(model, "m", None)
        assert len(model.ran) == 1


def test_an_absurd_contract_allocates_nothing() -> None:
    model = Recorder(TensorSpec("x", "FP32", (-1, 1 << 40)))
    warm_up(model, "m", None)
    assert model.ran == []


def test_the_request_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "warmup.npz"
    np.savez(path, x=np.ones((2, 3), np.float32))
    model = Recorder(TensorSpec("x", "FP32", (-1, 3)))
    warm_up(model, "m", str(path))
    assert model.ran[0]["x"].shape == (2, 3)
    with pytest.raises(InvalidInput):
        warm_up(Recorder(fail=InvalidInput("no")), "m", str(path))


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04nonsense"])
def test_what_is_no_file_of_arrays(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "warmup.npz"
    path.write_bytes(content)
    with pytest.raises(InvalidSettings, match="npz"):
        warm_up(Recorder(), "m", str(path))


def test_one_array_is_no_request(tmp_path: Path) -> None:
    path = tmp_path / "warmup.npz"
    with path.open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(InvalidSettings, match="without a name"):
        warm_up(Recorder(), "m", str(path))


def test_pickles_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "warmup.npz"
    np.savez(path, x=np.array([object()], dtype=object))
    with pytest.raises(InvalidSettings, match="npz"):
        warm_up(Recorder(), "m", str(path))
