"""`model.toml`: what a model of a repository wants otherwise than the process's settings say.

An unknown key or section is an error that names the nearest one, with its line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pelton.errors import InvalidSettings
from pelton.settings import KEYS, nearest

__all__ = ["MODEL_LIMITS", "ModelSettings", "read_model_settings"]

_FILE_BYTES_MAX: Final = 1 << 20
_VERSION_MAX: Final = 10**18 - 1
#: The limits of the process's settings that a model may have of its own.
MODEL_LIMITS: Final = (
    "threads",
    "batch_rows_max",
    "batch_tokens_max",
    "batch_wait_us_max",
    "queue_rows_max",
    "text_bytes_max",
)


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """What the file says.

    - `versions`: which are served: the latest, all, or those of these numbers.
    - `engine`, `quantize`: the settings of those names; None leaves them to the process.
    - `truncate`: cut texts over the model's limit when a request does not say.
    - `allow_non_finite`: take NaN and infinities in inputs.
    - `labels`: a file in the model's folder with the names of a classifier's classes, one a line.
    - `limits`: of `MODEL_LIMITS`, by name.
    - `warmup`: a file in the model's folder with a request to be run before the model is served,
      one array for each input (.npz).
    """

    versions: Literal["latest", "all"] | tuple[int, ...] = "latest"
    engine: str | None = None
    quantize: str | None = None
    truncate: bool = False
    allow_non_finite: bool = False
    labels: str | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    warmup: str | None = None


def read_model_settings(path: str | os.PathLike[str]) -> ModelSettings:
    """The settings of a file; the defaults where there is none. Raises `InvalidSettings`."""
    import tomllib

    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            content = file.read(_FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return ModelSettings()
    except OSError as error:
        raise InvalidSettings(f"{path}: cannot be read: {error.strerror}", field="model") from None
    if len(content) > _FILE_BYTES_MAX:
        raise InvalidSettings(f"{path}: over {_FILE_BYTES_MAX} bytes", field="model")
    try:
        text = content.decode()
        table = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidSettings(f"{path}: not a TOML file: {error}", field="model") from None
    return _Reader(path, text).settings(table)


class _Reader:
    """Of one file, of which errors name the line."""

    def __init__(self, path: str, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()

    def settings(self, table: Mapping[str, Any]) -> ModelSettings:
        self._check_names(table, (*_TOP, *_SECTIONS), "")
        given = {name: self._value(table, name, "", read) for name, read in _TOP.items()}
        limits = self._section(table, "limits", MODEL_LIMITS)
        warmup = self._section(table, "warmup", ("input",))
        return ModelSettings(
            **{name: value for name, value in given.items() if value is not None},
            limits={
                name: KEYS[name].check(value, self._where(name, "limits"))
                for name, value in limits.items()
            },
            warmup=self._value(warmup, "input", "warmup", _file_name),
        )

    def _section(
        self, table: Mapping[str, Any], name: str, known: tuple[str, ...]
    ) -> Mapping[str, Any]:
        section = table.get(name, {})
        if not isinstance(section, dict):
            raise self._wrong(name, "", "a section", section)
        self._check_names(section, known, name)
        return section

    def _check_names(self, table: Mapping[str, Any], known: tuple[str, ...], section: str) -> None:
        for name in table:
            if name not in known:
                kind = "section" if isinstance(table[name], dict) else "key"
                raise InvalidSettings(
                    f"{self._where(name, section)}: unknown {kind} {name!r}"
                    f"{f' of [{section}]' if section else ''}; {nearest(name, known)}",
                    field=name,
                )

    def _value(
        self, table: Mapping[str, Any], name: str, section: str, read: Callable[[Any], Any]
    ) -> Any:
        """None where it is not given."""
        if name not in table:
            return None
        try:
            return read(table[name])
        except _Unlike as error:
            raise self._wrong(name, section, str(error), table[name]) from None

    def _wrong(self, name: str, section: str, expected: str, got: object) -> InvalidSettings:
        shown = repr(got)
        shown = shown if len(shown) <= 60 else shown[:59] + "…"
        return InvalidSettings(
            f"{self._where(name, section)}: {name} must be {expected}, not {shown}",
            field=name,
            expected=expected,
            got=shown,
        )

    def _where(self, name: str, section: str) -> str:
        return f"{self._path}:{self._line_of(name, section)}"

    def _line_of(self, name: str, section: str) -> int:
        """Where a key of a section ("" is the top), or a section, is written; tomllib does not
        tell. 1 where it is written in a way that is not looked for."""
        word = rf"[\"']?{re.escape(name)}[\"']?"
        key = re.compile(rf"\s*{word}\s*[=.]")
        dotted = re.compile(rf"\s*[\"']?{re.escape(section)}[\"']?\s*(\.\s*{word}\s*=|=.*\b{word})")
        header = re.compile(rf"\s*\[+\s*{word}\s*[\].]")
        current = ""
        for number, line in enumerate(self._lines, start=1):
            found = re.match(r"\s*\[+\s*[\"']?([^\]\"'.]*?)[\"']?\s*[\].]", line)
            if not section and header.match(line):
                return number
            if found is not None:
                current = found[1]
            elif (key if current == section else dotted).match(line) and current in ("", section):
                return number
        return 1


class _Unlike(Exception):
    """A value is not what it must be; the message says what that is."""


def _choice(name: str) -> Callable[[Any], str]:
    choices = KEYS[name].choices

    def read(value: Any) -> str:
        if value not in choices:
            raise _Unlike("one of " + ", ".join(choices))
        return str(value)

    return read


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Unlike("true or false")
    return value


def _file_name(value: Any) -> str:
    """No path: a model's files are in its folder."""
    if not isinstance(value, str) or not re.fullmatch(r"(?!\.)[^/\\\0]{1,255}", value):
        raise _Unlike("the name of a file in the model's folder")
    return value


def _versions(value: Any) -> Any:
    if value in ("latest", "all"):
        return value
    numbers = value if isinstance(value, list) else []
    if not numbers or not all(type(n) is int and 1 <= n <= _VERSION_MAX for n in numbers):
        raise _Unlike('"latest", "all" or a list of version numbers')
    return tuple(sorted(set(numbers)))


_TOP: Final[Mapping[str, Callable[[Any], Any]]] = {
    "versions": _versions,
    "engine": _choice("engine"),
    "quantize": _choice("quantize"),
    "truncate": _boolean,
    "allow_non_finite": _boolean,
    "labels": _file_name,
}
_SECTIONS: Final = ("limits", "warmup")
