"""Weights in files beside the model: inside its folder or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from pelton.compiler.onnx._refuse import quote, refusal
from pelton.compiler.onnx.tensors import ExternalRange

__all__ = ["ExternalFiles"]


class ExternalFiles:
    """Checks ranges of external files against what is there; opens and maps nothing."""

    def __init__(self, model: Path) -> None:
        self._model = model
        self._folder = model.parent
        # Where the model itself is a link (a download cache), its folder is also the link's target.
        self._roots = {Path(os.path.realpath(model.parent)), Path(os.path.realpath(model)).parent}
        self._sizes: dict[str, tuple[Path, int]] = {}

    def range(self, at: str, entries: Mapping[str, str], nbytes: int) -> ExternalRange:
        """The checked range of a tensor of `nbytes` bytes; `at` names it in errors."""
        location = entries.get("location", "")
        if location not in self._sizes:
            self._sizes[location] = self._look(at, location)
        path, size = self._sizes[location]
        offset = self._number(at, entries, "offset", 0)
        length = self._number(at, entries, "length", nbytes)
        if length != nbytes:
            raise refusal(
                self._model,
                "length of external data",
                expected=f"{nbytes} bytes, of its shape and type",
                got=length,
                at=at,
            )
        if offset + length > size:
            raise refusal(
                self._model,
                f"external data in {quote(location)}",
                expected=f"bytes {offset} to {offset + length}",
                got=f"a file of {size} bytes",
                at=at,
            )
        return ExternalRange(location, path, offset, nbytes)

    def _number(self, at: str, entries: Mapping[str, str], key: str, default: int) -> int:
        text = entries.get(key, "")
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= 20):
            raise refusal(
                self._model,
                f"{key} of external data",
                expected="a number of bytes",
                got=quote(text),
                at=at,
            )
        return int(text)

    def _look(self, at: str, location: str) -> tuple[Path, int]:
        parts = PurePosixPath(location)
        bad = not location or parts.is_absolute() or ".." in parts.parts or "\0" in location
        if bad or "\\" in location:
            raise self._outside(at, location)
        path = Path(os.path.realpath(self._folder / location))
        if not any(path.is_relative_to(root) for root in self._roots):
            raise self._outside(at, location)
        try:
            facts = path.stat()
        except OSError as error:
            raise refusal(
                self._model,
                f"external data in {quote(location)}",
                expected="a file beside the model",
                got=error.strerror or error,
                at=at,
            ) from None
        if not stat.S_ISREG(facts.st_mode):
            raise refusal(
                self._model,
                f"external data in {quote(location)}",
                expected="a regular file",
                got="something else",
                at=at,
            )
        return path, facts.st_size

    def _outside(self, at: str, location: str) -> Exception:
        return refusal(
            self._model,
            "external data",
            expected="a path inside the model's folder",
            got=quote(location),
            at=at,
        )
