"""One request before a model takes others: what is made at its first use is then there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final, Protocol
from zipfile import BadZipFile

import numpy as np

from pelton._specs import TensorSpec
from pelton.backends.types import NUMPY_DTYPES
from pelton.errors import Error, InvalidInput, InvalidSettings

__all__ = ["Runnable", "synthetic_inputs", "warm_up"]

_LOG: Final = logging.getLogger("pelton.repository")
_SEED: Final = 0
_DEADLINE_S: Final = 60.0
_ELEMENTS_MAX: Final = 1 << 26


class Runnable(Protocol):
    """What of a model is used."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    def run(self, inputs: Mapping[str, Any], *, deadline: float | None = None) -> Any: ...


def warm_up(model: Runnable, name: str, path: str | None) -> None:
    """Run the request of the file `path` (.npz: one array for each input), or without one a
    synthetic request of one row.

    Raises what the model raises at the file's request, and `InvalidSettings` for a file that holds
    none. What was made up may be no request that this model knows: then it is only logged.
    """
    if path is not None:
        model.run(_read(path), deadline=_DEADLINE_S)
        return
    try:
        model.run(synthetic_inputs(model.inputs), deadline=_DEADLINE_S)
    except InvalidInput as error:
        _LOG.info("model %s was not warmed up by a synthetic request: %s", name, error)
    except Error as error:
        _LOG.warning("model %s: its first, synthetic request failed: %s", name, error)


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            found = np.load(file, allow_pickle=False)
            if not isinstance(found, np.lib.npyio.NpzFile):
                raise ValueError("it holds one array without a name")
            with found as arrays:
                return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise InvalidSettings(
            f"{path}: expected an .npz file with one array for each input: {error}", field="warmup"
        ) from None


def synthetic_inputs(specs: tuple[TensorSpec, ...]) -> dict[str, Any]:
    """One row for each input, the same at every call; free dimensions are 1. Raises `InvalidInput`
    where it would be very large, or of a datatype that is not known."""
    generator = np.random.default_rng(_SEED)
    inputs: dict[str, Any] = {}
    for spec in specs:
        if spec.dtype == "BYTES":
            inputs[spec.name] = ["warm up"]
            continue
        shape = tuple(max(size, 1) for size in spec.shape)
        dtype = NUMPY_DTYPES.get(spec.dtype)
        if dtype is None or np.prod(shape, dtype=np.float64) > _ELEMENTS_MAX:
            raise InvalidInput(f"input {spec.name!r} of {spec.dtype} {list(spec.shape)}")
        # 0 and 1 are ids, flags and masks everywhere.
        whole = generator.integers(0, 2, shape)
        is_float = np.issubdtype(dtype, np.floating)
        inputs[spec.name] = (generator.standard_normal(shape) if is_float else whole).astype(dtype)
    return inputs
