"""Reading the files of a model folder, with errors that name the file and the key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from pelton.errors import UnsupportedModel

__all__ = ["Json", "read_bytes", "read_json", "refuse"]

_CONFIG_BYTES_MAX: Final = 16 << 20
_T = TypeVar("_T", int, float, str, bool)


def refuse(
    where: str, expected: str, got: object, hint: str = "", field: str | None = None
) -> UnsupportedModel:
    """The error to raise: `where: expected …, got …`."""
    text = f"{where}: expected {expected}, got {got}"
    return UnsupportedModel(
        f"{text}; {hint}" if hint else text, field=field or where, expected=expected, got=str(got)
    )


def read_bytes(path: Path, bytes_max: int) -> bytes:
    """The file, or `UnsupportedModel` when it is missing or too large."""
    try:
        size = path.stat().st_size
        if size > bytes_max:
            raise refuse(str(path), f"at most {bytes_max} bytes", size)
        return path.read_bytes()
    except OSError as error:
        raise refuse(str(path), "a readable file", error.strerror or error) from None


class Json:
    """A JSON object of a model folder; every getter names the file and key in its error."""

    def __init__(self, path: Path, values: Mapping[str, Any]) -> None:
        self.path = path
        self.values = values

    def where(self, key: str) -> str:
        return f"{self.path}: {key}"

    def get(self, key: str, kind: type[_T], default: _T | None = None) -> _T:
        """The value, which must be of `kind`; `default` where the key is absent or null."""
        value = self.values.get(key)
        if value is None:
            if default is None:
                raise refuse(self.where(key), f"a value of type {kind.__name__}", "none")
            return default
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return kind(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise refuse(self.where(key), f"a value of type {kind.__name__}", repr(value)[:60])
        return value

    def size(self, key: str, default: int | None = None) -> int:
        """An integer of at least 1 that a dimension can be."""
        value = self.get(key, int, default)
        if not 1 <= value < 2**31:
            raise refuse(self.where(key), "an integer from 1 to 2147483647", value)
        return value


def read_json(path: Path) -> Json:
    """The object in a JSON file."""
    values = read_json_value(path)
    if not isinstance(values, dict):
        raise refuse(str(path), "a JSON object", type(values).__name__)
    return Json(path, values)


def read_json_value(path: Path) -> object:
    """Any JSON value in a file."""
    try:
        value: object = json.loads(read_bytes(path, _CONFIG_BYTES_MAX))
    except (ValueError, RecursionError) as error:
        raise refuse(str(path), "JSON", f"something else ({error})") from None
    return value
