"""Model folder to plan file: import, passes, metadata, write; directly or through the cache."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pelton.compiler.cache import PlanCache, plan_key
from pelton.compiler.digests import combined_digest, identity, sha256_file
from pelton.errors import Unavailable

__all__ = ["CompileSettings", "compile_model", "load_or_compile"]

_ATTEMPTS: Final = 3
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class CompileSettings:
    """What decides, beside the model's files, what the plan holds. `name` goes into the plan."""

    name: str
    quantize: Literal["none"] = "none"


def compile_model(
    model: str | os.PathLike[str], output: str | os.PathLike[str], settings: CompileSettings
) -> Path:
    """Compiles the encoder folder `model` to the plan file `output`, which is replaced whole or not
    at all, and returns its path. Raises `ModelNotFound` and `UnsupportedModel`."""
    folder, path = Path(model), Path(output)
    digests = {name: sha256_file(folder / name) for name in _source_files(folder)}
    _compile(folder, path, settings, digests, mode=0o666)
    return path


def load_or_compile(
    model: str | os.PathLike[str],
    settings: CompileSettings,
    cache: PlanCache,
    opener: Callable[[Path], _T],
) -> _T:
    """`opener(path)` of the plan for the encoder folder `model`, from the cache where it is there
    and `opener` takes it (it raises `CorruptPlan` or `UnsupportedPlan` where not), else compiled
    into the cache first. A folder whose files change meanwhile is tried again, then
    `Unavailable`."""
    folder = Path(model)
    for _ in range(_ATTEMPTS):
        names = _source_files(folder)
        before = [identity(folder / name) for name in names]
        cache.prepare()
        digests = cache.memo.digests(folder, names)
        key = plan_key(digests, asdict(settings))

        def compile_to(
            path: Path,
            names: tuple[str, ...] = names,
            before: list[tuple[int, ...]] = before,
            digests: dict[str, str] = digests,
        ) -> None:
            check = _ChangeCheck(folder, names, before)
            _compile(folder, path, settings, digests, mode=0o600, before_write=check)

        try:
            return cache.open(key, compile_to, opener)
        except _Changed:
            continue
    raise Unavailable(f"model {str(folder)!r}: its files change while they are being compiled")


class _Changed(Exception):
    """The source files are no longer those that were hashed."""


@dataclass(frozen=True, slots=True)
class _ChangeCheck:
    """Raises `_Changed` unless every file is still what it was."""

    folder: Path
    names: tuple[str, ...]
    before: list[tuple[int, ...]]

    def __call__(self) -> None:
        try:
            after = [identity(self.folder / name) for name in self.names]
        except OSError:
            raise _Changed from None
        if after != self.before:
            raise _Changed


def _source_files(folder: Path) -> tuple[str, ...]:
    from pelton.compiler.hf_pooling import source_files

    return source_files(folder)


def _compile(
    folder: Path,
    path: Path,
    settings: CompileSettings,
    digests: Mapping[str, str],
    mode: int,
    before_write: Callable[[], None] = lambda: None,
) -> None:
    # Here and not above: a start from the cache must not pay for them.
    from pelton.compiler.hf_encoder import load_encoder
    from pelton.compiler.metadata import plan_metadata
    from pelton.compiler.passes import run_passes
    from pelton.compiler.plan_writer import write_plan

    encoder = load_encoder(folder, settings.name)
    graph = run_passes(encoder.graph)
    source: dict[str, Any] = {"digest": combined_digest(digests), "files": dict(digests)}
    metadata = plan_metadata(
        graph,
        source=source,
        settings={"quantize": settings.quantize},
        model=encoder.metadata,
    )
    before_write()
    write_plan(graph, path, metadata, encoder.attachments, mode)
