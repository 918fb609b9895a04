"""From folders of the repository to commands that every process of the server carries out.

One object of the server does this, in the process that was asked; it serves nothing itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, Protocol

from pelton.errors import Error, InvalidSettings, ModelNotFound, UnsupportedModel
from pelton.http.loading import Note, Order, VersionOrder
from pelton.repository import (
    ModelFolder,
    Seen,
    Watch,
    check_repository,
    file_in,
    find_artefact,
    fingerprint,
    look,
    read_model,
    wanted_versions,
)
from pelton.settings import Settings

__all__ = ["Appliers", "Orders", "make_order"]

_LOG: Final = logging.getLogger("pelton.repository")
_LOWEST_PRIORITY: Final = 19
_COMPILE_S_MAX: Final = 3600.0
_REASON_CHARACTERS_MAX: Final = 1000


class Appliers(Protocol):
    """Has every process of the server carry out a command, or none."""

    async def apply(self, command: str, payload: Any) -> None: ...


class Orders:
    """On one event loop. Raises `InvalidSettings` where the repository is no folder."""

    def __init__(self, settings: Settings, control: Appliers) -> None:
        check_repository(settings.repository)
        self._settings = settings
        self._root = settings.repository
        self._control = control

    async def load(self, name: str, among: Iterable[int] | None = None) -> None:
        """Serve the versions of a model that its settings want, of those `among` or of all; what is
        compiled for it is compiled in a process of its own. Where anything fails, what was served
        goes on. Raises `ModelNotFound`, `InvalidSettings`, `UnsupportedModel` and what loading
        raises."""
        await self._control.apply("load_model", await self.prepared(name, among))

    async def prepared(self, name: str, among: Iterable[int] | None = None) -> Order:
        """The order for `load`, with everything compiled. Where that fails the index says so."""
        version = ""
        try:
            order = await asyncio.to_thread(make_order, self._root, name, among)
            for wanted in order.versions:
                version = wanted.version
                await _compile(wanted.path, self._settings)
        except Error as error:
            if not isinstance(error, ModelNotFound) or error.version:
                await self._note(Note(name, version, error.message))
            raise
        return order

    async def _note(self, note: Note) -> None:
        try:
            await self._control.apply("note_model", note)
        except Error as error:
            _LOG.warning("the index does not say of model %s: %s (%s)", *note[::2], error)

    async def unload(self, name: str) -> None:
        """Serve no version of it. Raises `ModelNotFound`."""
        await self._control.apply("unload_model", name)

    async def load_all(self) -> dict[str, Seen]:
        """What there is at the start, each model by itself: the newest of its versions that can be
        loaded. Returns what it saw, for `watch`. Failures are logged, and in the index."""
        seen = await asyncio.to_thread(look, self._root)
        for name, found in seen.items():
            await self._load_newest(name, sorted(found.versions))
        return seen

    async def _load_newest(self, name: str, versions: list[int]) -> None:
        while versions:
            try:
                await self.load(name, versions)
                return
            except Error as error:
                _LOG.error("model %s was not loaded: %s", name, error.message)
                if isinstance(error, InvalidSettings):
                    return
            versions = versions[:-1]

    async def watch(self, seen: dict[str, Seen]) -> None:
        """Do what changes in the repository ask for, until cancelled. `seen` is what has been dealt
        with."""
        watch = Watch(seen)
        problem = ""
        while True:
            await asyncio.sleep(self._settings.watch_s)
            try:
                changes = watch.step(await asyncio.to_thread(look, self._root))
            except (Error, OSError) as error:
                if problem != str(error):
                    problem = str(error)
                    _LOG.error("the repository %s cannot be read: %s", self._root, problem)
                continue
            problem = ""
            for change in changes:
                try:
                    if change.versions:
                        await self.load(change.name, change.versions)
                    else:
                        await self._gone(change.name)
                except Error as error:
                    _LOG.error("model %s was not loaded: %s", change.name, error.message)

    async def _gone(self, name: str) -> None:
        with suppress(ModelNotFound):  # it had failed, or was unloaded by a call
            await self.unload(name)
        await self._note(Note(name, "", ""))


def make_order(root: str, name: str, among: Iterable[int] | None = None) -> Order:
    """What is to be served of a model as it lies there. Reads the folder."""
    try:
        return _make_order(root, name, among)
    except OSError as error:
        raise UnsupportedModel(f"{error.filename}: cannot be read: {error.strerror}") from None


def _make_order(root: str, name: str, among: Iterable[int] | None) -> Order:
    model = read_model(root, name)
    there = frozenset(map(str, model.versions))
    if among is not None:
        model = model._replace(versions=tuple(v for v in model.versions if v in set(among)))
    settings = model.settings
    return Order(
        name=name,
        # The highest is that of requests which name none.
        versions=tuple(_version_order(model, v) for v in reversed(wanted_versions(model))),
        there=there,
        settings=settings,
        labels=None if settings.labels is None else file_in(model, settings.labels),
        warmup=None if settings.warmup is None else file_in(model, settings.warmup),
    )


def _version_order(model: ModelFolder, version: int) -> VersionOrder:
    folder = model.version_path(version)
    identity = (fingerprint(folder), model.fingerprint)
    return VersionOrder(str(version), find_artefact(folder), identity)


async def _compile(path: str, settings: Settings) -> None:
    """Have the artefact compiled into the cache of plans, in a process that disturbs no one. A plan
    needs none. Raises `UnsupportedModel` with what that process said."""
    if path.endswith(".plan"):
        return
    process = await asyncio.to_thread(_start_compiler, path, settings)
    wait = asyncio.ensure_future(asyncio.to_thread(process.communicate))
    try:
        async with asyncio.timeout(_COMPILE_S_MAX):
            _, said = await asyncio.shield(wait)
    except TimeoutError:
        raise UnsupportedModel(f"{path}: not compiled in {_COMPILE_S_MAX:g} s") from None
    finally:
        if process.poll() is None:
            process.kill()
    if process.returncode != 0:
        lines = said.strip().splitlines() or [_ending(process.returncode)]
        reason = lines[-1].removeprefix("pelton: ")[:_REASON_CHARACTERS_MAX]
        raise UnsupportedModel(reason)


def _ending(code: int) -> str:
    if code >= 0:
        return f"the compiler ended with exit code {code}"
    return f"the compiler was ended by {signal.Signals(-code).name}"


def _start_compiler(path: str, settings: Settings) -> subprocess.Popen[str]:
    command = [sys.executable]
    # As this process was started: with the working directory on the path, or not.
    if os.path.realpath(sys.path[0] or ".") != os.path.realpath("."):
        command.append("-P")
    command += ["-m", "pelton", "inspect", path, "--json"]
    own = {
        "PELTON_CACHE_DIR": settings.cache_dir,
        "PELTON_PLAN_CACHE_BYTES_MAX": str(settings.plan_cache_bytes_max),
        "PELTON_ENGINE": settings.engine,
        "PELTON_QUANTIZE": settings.quantize,
        "OPENBLAS_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        command,
        env={**os.environ, **own},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with suppress(OSError):  # it has ended already
        os.setpriority(os.PRIO_PROCESS, process.pid, _LOWEST_PRIORITY)
    return process
