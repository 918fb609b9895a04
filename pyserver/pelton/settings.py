"""The one frozen settings object: defaults < `pelton.toml` < `PELTON_*` variables < flags.

Every key is declared once, in `KEYS`, with its type, unit (in its name), range and what it does;
the file reader, the environment reader and the command line are made from that table. An unknown
key in a file or flag is an error that names the nearest key, with its line; an unknown `PELTON_`
variable is a warning, because an environment is often shared.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from pelton._cpus import process_cpus
from pelton.errors import InvalidSettings

__all__ = ["KEYS", "Key", "Settings", "default_cache_dir", "load_settings", "nearest"]

_LOG: Final = logging.getLogger("pelton.settings")
_ENV_PREFIX: Final = "PELTON_"
# Read elsewhere: PELTON_CONFIG names the file of this page, PELTON_ISA is the engine's.
_OTHER_VARIABLES: Final = ("PELTON_CONFIG", "PELTON_ISA")
# What Kubernetes sets in every pod for a Service named "pelton".
_KUBERNETES: Final = re.compile(r"PELTON_(SERVICE_[A-Z0-9_]+|PORT_[A-Z0-9_]+)\Z")
_KUBERNETES_PORT: Final = re.compile(r"(tcp|udp|sctp)://")
_FILE_BYTES_MAX: Final = 1 << 20

QUANTIZE_SUPPORTED: Final = ("none",)
ENGINES_SUPPORTED: Final = ("auto", "native", "onnxruntime")


def default_cache_dir(environ: Mapping[str, str] | None = None) -> str:
    """`$XDG_CACHE_HOME/pelton`, else `~/.cache/pelton`."""
    environ = os.environ if environ is None else environ
    base = environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    return str((Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "pelton")


class Key(NamedTuple):
    """One key: its name, type, range or choices, and one line for `--help` and the docs."""

    name: str
    kind: Literal["int", "float", "str", "choice"]
    about: str
    low: float = 0
    high: float = math.inf
    choices: tuple[str, ...] = ()
    is_optional: bool = False  # a string that may be empty: nothing
    default_shown: str = ""  # where the default is worked out

    @property
    def variable(self) -> str:
        return _ENV_PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        if self.kind == "str":
            return "a string" if self.is_optional else "a string that is not empty"
        word = "an integer" if self.kind == "int" else "a number"
        if self.high == math.inf:
            return f"{word} of at least {self.low:g}"
        return f"{word} from {self.low:g} to {self.high:.15g}"

    def check(self, value: object, source: str) -> Any:
        """The value in its type, or `InvalidSettings` naming `source`."""
        if self.is_optional and value == "":
            return value
        checked = _CONVERT[self.kind](value)
        fits = checked is not None
        if fits and self.kind in ("int", "float"):
            fits = self.low <= checked <= self.high
        elif fits and self.kind == "choice":
            fits = checked in self.choices
        if not fits:
            raise InvalidSettings(
                f"{source}: {self.name} must be {self.expected}, not {_shown(value)}",
                field=self.name,
                expected=self.expected,
                got=_shown(value),
            )
        return checked


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _as_int(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", value.strip()):
        return int(value)
    return None


def _as_float(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _as_str(value: object) -> str | None:
    if isinstance(value, Path):
        value = str(value)
    return value if isinstance(value, str) and value and "\0" not in value else None


_CONVERT: Final[Mapping[str, Callable[[object], Any]]] = {
    "int": _as_int,
    "float": _as_float,
    "str": _as_str,
    "choice": _as_str,
}

_KEYS: Final = (
    Key("host", "str", "address to listen on"),
    Key("port", "int", "port to listen on; 0 takes a free one", 0, 65535),
    Key(
        "threads",
        "int",
        "threads of the engine",
        1,
        1024,
        default_shown="the CPUs this process may use",
    ),
    Key("workers", "int", "processes that serve; threads and limits are divided", 1, 256),
    Key("quantize", "choice", "weights of the compiled plan", choices=QUANTIZE_SUPPORTED),
    Key("engine", "choice", "what runs the models", choices=ENGINES_SUPPORTED),
    Key("log_format", "choice", "how log lines look", choices=("text", "json")),
    Key(
        "log_level",
        "choice",
        "least level that is logged",
        choices=("debug", "info", "warning", "error"),
    ),
    Key("body_bytes_max", "int", "largest request body", 1, 1 << 40),
    Key(
        "compress_bytes_min",
        "int",
        "answers from this size on are compressed on request",
        0,
        1 << 40,
    ),
    Key("shared_memory", "choice", "tensors in memory of this host", choices=("off", "on")),
    Key("bodies_bytes_max", "int", "most bytes of request bodies held at a time", 1, 1 << 50),
    Key("text_bytes_max", "int", "longest text, in UTF-8, before it is tokenized", 1, 1 << 30),
    Key("queue_requests_max", "int", "most requests that may wait in the engine", 1, 1 << 20),
    Key("queue_rows_max", "int", "most rows of one model that may wait", 1, 1 << 24),
    Key("batch_rows_max", "int", "most rows of one batch", 1, 1 << 16),
    Key("batch_tokens_max", "int", "most tokens of one batch of texts", 1, 1 << 24),
    Key("batch_wait_us_max", "int", "longest wait for a batch to fill", 0, 10_000_000),
    Key("deadline_ms_default", "int", "deadline of requests without one; 0: none", 0, 86_400_000),
    Key("connections_max", "int", "most open connections", 1, 1 << 20),
    Key("keep_alive_s", "float", "how long an idle connection is kept", 0, 86_400),
    Key("head_s_max", "float", "longest time for the head of a request to come", 0.001, 86_400),
    Key(
        "drain_lag_s",
        "float",
        "time after SIGTERM in which requests are still taken",
        0,
        86_400,
    ),
    Key("drain_s_max", "float", "longest time to finish accepted requests", 0, 86_400),
    Key("repository", "str", "folder of models and versions", is_optional=True),
    Key("watch_s", "float", "seconds between looks at the repository; 0: none", 0, 86_400),
    Key(
        "cache_dir",
        "str",
        "folder of compiled plans",
        default_shown="$XDG_CACHE_HOME/pelton",
    ),
    Key("plan_cache_bytes_max", "int", "most bytes of compiled plans kept", 0, 1 << 50),
)
#: Every key, by name.
KEYS: Final[Mapping[str, Key]] = MappingProxyType({key.name: key for key in _KEYS})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the process was told. Made by `load_settings`, or directly in programs and tests;
    `KEYS` says what each field means."""

    host: str = "127.0.0.1"
    port: int = 8080
    threads: int = 0  # 0 becomes the CPUs this process may use
    workers: int = 1
    quantize: str = "none"
    engine: str = "auto"
    log_format: str = "text"
    log_level: str = "info"
    body_bytes_max: int = 64 << 20
    bodies_bytes_max: int = 1 << 30
    compress_bytes_min: int = 16 << 10
    shared_memory: str = "off"
    text_bytes_max: int = 256 << 10
    queue_requests_max: int = 4096
    queue_rows_max: int = 16384
    batch_rows_max: int = 64
    batch_tokens_max: int = 4096
    batch_wait_us_max: int = 0
    deadline_ms_default: int = 0
    connections_max: int = 16384
    keep_alive_s: float = 75.0
    head_s_max: float = 10.0
    drain_lag_s: float = 0.0
    drain_s_max: float = 30.0
    repository: str = ""  # empty: none
    watch_s: float = 0.0
    cache_dir: str = ""  # empty becomes default_cache_dir()
    plan_cache_bytes_max: int = 16 << 30

    def __post_init__(self) -> None:
        if self.threads == 0:
            object.__setattr__(self, "threads", process_cpus())
        if self.cache_dir == "":
            object.__setattr__(self, "cache_dir", default_cache_dir())
        for key in _KEYS:
            value = key.check(getattr(self, key.name), "Settings")
            object.__setattr__(self, key.name, value)


_FIELDS: Final = tuple(field.name for field in fields(Settings))
assert set(_FIELDS) == set(KEYS), "every field of Settings is a key, and every key a field"


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint: the nearest of `names` to an unknown name, or all of them where none is close."""
    import difflib

    names = sorted(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"the nearest is {close[0]!r}" if close else "there are " + ", ".join(names)


def _line_of(text: str, name: str) -> int:
    """The line on which `name` is first used as a key or table; tomllib does not tell."""
    quoted = re.escape(name)
    pattern = rf"^[ \t]*\[*[ \t]*[\"']?{quoted}[\"']?[ \t]*(=|\.|\])"
    found = re.search(pattern, text, re.MULTILINE)
    return 1 + text.count("\n", 0, found.start()) if found else 1


def _read_file(path: str) -> dict[str, Any]:
    import tomllib

    try:
        with open(path, "rb") as file:
            content = file.read(_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidSettings(f"{path}: cannot be read: {error.strerror}", field="config") from None
    if len(content) > _FILE_BYTES_MAX:
        raise InvalidSettings(f"{path}: over {_FILE_BYTES_MAX} bytes", field="config")
    try:
        text = content.decode()
        table = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidSettings(f"{path}: not a TOML file: {error}", field="config") from None
    values = {}
    for name, value in table.items():
        where = f"{path}:{_line_of(text, name)}"
        if name not in KEYS:
            raise InvalidSettings(
                f"{where}: unknown key {name!r}; {nearest(name, KEYS)}", field=name
            )
        values[name] = KEYS[name].check(value, where)
    return values


def _read_environment(environ: Mapping[str, str], warn: Callable[[str], object]) -> dict[str, Any]:
    by_variable = {key.variable: key for key in _KEYS}
    values = {}
    for variable in sorted(environ):
        if not variable.startswith(_ENV_PREFIX) or variable in _OTHER_VARIABLES:
            continue
        if variable == "PELTON_PORT" and _KUBERNETES_PORT.match(environ[variable]):
            continue
        key = by_variable.get(variable)
        if key is not None:
            values[key.name] = key.check(environ[variable], f"the variable {variable}")
        elif not _KUBERNETES.match(variable):
            hint = nearest(variable, by_variable)
            warn(f"unknown environment variable {variable}; {hint}")
    return values


def load_settings(
    *,
    config: str | os.PathLike[str] | None = None,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    search: bool = False,
    warn: Callable[[str], object] = _LOG.warning,
) -> Settings:
    """The settings of this process.

    `config` (or the variable `PELTON_CONFIG`) names the file; without either, and with `search`,
    `pelton.toml` in the working directory is read where there is one. `flags` are the options given
    on the command line, by key; a value of None is an option that was not given. `warn` is told of
    unknown variables. Raises `InvalidSettings`.
    """
    environ = os.environ if environ is None else environ
    if config is None:
        config = environ.get("PELTON_CONFIG") or None
    if config is None and search and os.path.exists("pelton.toml"):
        config = "pelton.toml"
    values = {} if config is None else _read_file(os.fspath(config))
    values |= _read_environment(environ, warn)
    for name, value in (flags or {}).items():
        if name not in KEYS:
            raise InvalidSettings(f"unknown option {name!r}; {nearest(name, KEYS)}", field=name)
        if value is not None:
            values[name] = KEYS[name].check(value, f"the option {KEYS[name].flag}")
    values.setdefault("cache_dir", default_cache_dir(environ))
    return replace(Settings(), **values)
