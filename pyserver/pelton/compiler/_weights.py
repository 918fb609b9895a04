"""Weights of a safetensors file as float32 arrays, each checked for shape, dtype and finiteness."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pelton.compiler._source import read_bytes, refuse
from pelton.errors import UnsupportedModel

__all__ = ["WeightFile"]

_DTYPES: Final = ("F32", "F16", "BF16")
_FILE_BYTES_MAX: Final = 1 << 40


class WeightFile:
    """One safetensors file, read by the library. Not thread-safe."""

    def __init__(self, path: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self.path = path
        library: Any = safe_open  # its methods have no types
        try:
            self._file = library(path, framework="np")
        except FileNotFoundError:
            raise refuse(str(path), "a safetensors file", "none") from None
        except (SafetensorError, OSError) as error:
            raise refuse(str(path), "a safetensors file", f"something else ({error})") from None
        self.names: frozenset[str] = frozenset(self._file.keys())
        self._bfloat16: dict[str, bytes] | None = None

    def take(self, names: Iterable[str], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """The tensor of the first of `names` that is there."""
        choices = tuple(names)
        name = next((choice for choice in choices if choice in self.names), None)
        if name is None:
            raise refuse(f"{self.path}", f"a tensor {choices[0]!r}", "none", field=choices[0])
        facts = self._file.get_slice(name)
        where = f"{self.path}: {name}"
        if tuple(facts.get_shape()) != shape:
            got = list(facts.get_shape())
            raise refuse(where, f"shape {list(shape)}", got, "as config.json says", name)
        if facts.get_dtype() not in _DTYPES:
            raise refuse(where, "dtype " + " or ".join(_DTYPES), facts.get_dtype(), field=name)
        values = self._read(name, facts.get_dtype(), shape)
        if not np.isfinite(values).all():
            raise refuse(where, "finite values", "NaN or infinity", field=name)
        return values

    def _read(self, name: str, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        if dtype == "BF16":  # a bfloat16 is the upper half of a float32
            upper = np.frombuffer(self._bfloat16_bytes(name), dtype="<u2").astype(np.uint32)
            return (upper << np.uint32(16)).view(np.float32).reshape(shape)
        values: npt.NDArray[Any] = self._file.get_tensor(name)
        return values.astype(np.float32, copy=False)

    def _bfloat16_bytes(self, name: str) -> bytes:
        """NumPy has no bfloat16, so the library gives such tensors only as bytes, all at once."""
        if self._bfloat16 is None:
            from safetensors import SafetensorError, deserialize

            library: Any = deserialize
            try:
                tensors = library(read_bytes(self.path, _FILE_BYTES_MAX))
            except SafetensorError as error:
                raise UnsupportedModel(f"{self.path}: {error}") from None
            self._bfloat16 = {key: entry["data"] for key, entry in tensors}
        return self._bfloat16[name]
