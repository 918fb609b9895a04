"""This process's half of the repository: models are loaded beside what is served, then take its
place.

`load` and `unload` are commands of `pelton.http.control`: what they did can be undone until it is
kept, because all processes of a server do the same or none does.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, NamedTuple

from pelton.errors import AlreadyExists, Error, Internal, ModelNotFound, Unavailable
from pelton.http.models import ModelTable
from pelton.model import Model, load
from pelton.model_settings import ModelSettings
from pelton.repository import Fingerprint, warm_up
from pelton.settings import Settings

__all__ = [
    "Done",
    "IndexRow",
    "Loading",
    "Note",
    "Order",
    "VersionOrder",
    "load_version",
    "merge_index",
]

_LOG: Final = logging.getLogger("pelton.repository")
_THREADS: Final = 2
_READY: Final = "READY"
_LOADING: Final = "LOADING"
_UNLOADING: Final = "UNLOADING"
_UNAVAILABLE: Final = "UNAVAILABLE"
# Of several processes the first of these counts.
_STATES: Final = (_LOADING, _UNLOADING, _UNAVAILABLE, _READY)
_UNLOADED: Final = "unloaded"


class VersionOrder(NamedTuple):
    """A version to be served: its artefact's path, and what tells its contents from others'."""

    version: str
    path: str
    identity: tuple[Fingerprint, Fingerprint]


class Order(NamedTuple):
    """The versions of a model that are to be served, the one of requests that name none first;
    `there` are all that have a folder. `labels` and `warmup` are paths."""

    name: str
    versions: tuple[VersionOrder, ...]
    there: frozenset[str]
    settings: ModelSettings
    labels: str | None
    warmup: str | None


class Note(NamedTuple):
    """What the index is to say of a version that is not served; "" is the model as a whole."""

    name: str
    version: str
    reason: str


class IndexRow(NamedTuple):
    """A row of the repository's index."""

    name: str
    version: str
    state: str
    reason: str

    def document(self) -> dict[str, str]:
        found = {"name": self.name, "version": self.version, "state": self.state}
        found["reason"] = self.reason
        return {key: value for key, value in found.items() if value or key == "name"}


class Done(NamedTuple):
    """What a command did; one of the two is called."""

    undo: Callable[[], None]
    keep: Callable[[], None] = lambda: None


class _Loaded(NamedTuple):
    model: Model
    order: VersionOrder
    settings: ModelSettings

    def fits(self, order: VersionOrder, settings: ModelSettings) -> bool:
        """Whether it is what the order asks for, already."""
        return (self.order.identity, self.settings) == (order.identity, settings)


class Loading:
    """On the server's event loop, but for the constructor."""

    def __init__(self, table: ModelTable, settings: Settings) -> None:
        self._table = table
        self._settings = settings
        self._root = settings.repository
        self._served: dict[str, tuple[_Loaded, ...]] = {}
        self._orders: dict[str, Order] = {}
        self._notes: dict[str, dict[str, str]] = {}
        self._begun: dict[tuple[str, str], int] = {}  # versions that are being loaded
        self._retiring: dict[Model, str] = {}
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="pelton-load")
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = threading.Event()

    # -- commands ----------------------------------------------------------------------------------
    async def load(self, order: Order) -> Done:
        """Serve what the order says and nothing else of that name. Where anything fails, what was
        served goes on; the index says why. Raises what loading and warming up raise."""
        name = order.name
        if name in self._table.latest and name not in self._served:
            raise AlreadyExists(
                f"the name {name!r} is that of a model which is not of the repository", model=name
            )
        before = self._served.get(name, ())
        after: list[_Loaded] = []
        made: list[Model] = []
        version = ""
        try:
            for version_order in order.versions:
                version = version_order.version
                found = [old for old in before if old.fits(version_order, order.settings)]
                if not found:
                    made.append(await self._load_one(order, version_order))
                    found = [_Loaded(made[-1], version_order, order.settings)]
                after.append(found[0])
            if self._closed.is_set():
                raise Unavailable("the server is stopping")
            old_order = self._orders.get(name)
            self._serve(name, after, order)
        except BaseException as error:
            self._retire(name, made)
            if not isinstance(error, asyncio.CancelledError):
                self.note(Note(name, version, getattr(error, "message", "") or repr(error)))
            if isinstance(error, Error) or not isinstance(error, Exception):
                raise
            raise Internal(f"model {name!r}: version {version}: {error!r}") from error
        notes, newest = self._notes.get(name, {}), int(order.versions[0].version)
        # What is said of those that are newer still holds.
        newer = {v: why for v, why in notes.items() if v in order.there and int(v) > newest}
        self._set_notes(name, newer)
        dropped = [old.model for old in before if old not in after]

        def undo() -> None:
            self._serve(name, before, old_order)
            self._set_notes(name, notes)
            self._retire(name, made)

        return Done(undo, lambda: self._kept(name, after, made, dropped))

    def unload(self, name: str) -> Done:
        """Requests find no model of that name from now on. Raises `ModelNotFound` where it is not
        of the repository."""
        before = self._served.get(name, ())
        if not before:
            raise ModelNotFound(
                f"there is no model {name[:64]!r} of the repository that is loaded", model=name[:64]
            )
        notes, order = self._notes.get(name, {}), self._orders.get(name)
        self._serve(name, (), None)
        self._notes[name] = {**notes, **{old.order.version: _UNLOADED for old in before}}

        def undo() -> None:
            self._serve(name, before, order)
            self._set_notes(name, notes)

        return Done(undo, lambda: self._kept(name, (), (), [old.model for old in before]))

    def note(self, note: Note) -> Done:
        """Have the index say why a version is not served; an empty reason is no more to be said of
        the model."""
        if note.reason:
            # Anyone may read the index: where the repository lies is not their business.
            reason = note.reason.replace(self._root + os.sep, "")
            self._notes.setdefault(note.name, {})[note.version] = reason
        else:
            self._notes.pop(note.name, None)
        return Done(lambda: None)

    def _set_notes(self, name: str, notes: dict[str, str]) -> None:
        self._notes.pop(name, None)
        if notes:
            self._notes[name] = notes

    def _serve(self, name: str, loaded: Sequence[_Loaded], order: Order | None) -> None:
        self._table.replace(name, [found.model for found in loaded])
        if order is None:
            self._served.pop(name, None)
            self._orders.pop(name, None)
        else:
            self._served[name] = tuple(loaded)
            self._orders[name] = order

    def _kept(
        self,
        name: str,
        after: Sequence[_Loaded],
        made: Sequence[Model],
        dropped: Sequence[Model],
    ) -> None:
        if made or dropped:
            versions = ", ".join(found.order.version for found in after) or "none"
            _LOG.info("model %s: versions served: %s", name, versions, extra={"model": name})
        self._retire(name, dropped)

    # -- one version -------------------------------------------------------------------------------
    async def _load_one(self, order: Order, version: VersionOrder) -> Model:
        """Loaded and warmed up, off the loop."""
        key = (order.name, version.version)
        self._begun[key] = self._begun.get(key, 0) + 1
        task = self._executor.submit(load_version, order, version, self._settings)
        try:
            return await asyncio.shield(asyncio.wrap_future(task))
        except asyncio.CancelledError:
            task.add_done_callback(_close_result)  # it cannot be interrupted
            raise
        finally:
            self._begun[key] -= 1
            if not self._begun[key]:
                del self._begun[key]

    def _retire(self, name: str, models: Sequence[Model]) -> None:
        if not models:
            return
        self._retiring.update(dict.fromkeys(models, name))

        async def retire() -> None:
            try:
                await self._table.retire(models, self._settings.drain_s_max, self._executor)
            finally:
                for model in models:
                    self._retiring.pop(model, None)

        self.begin(retire())

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that ends with this object."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- what there is -----------------------------------------------------------------------------
    @property
    def is_settled(self) -> bool:
        """Whether nothing is being loaded or closed."""
        return not self._begun and not self._retiring

    def commands(self) -> list[tuple[str, Any]]:
        """Those that bring a new process to where this one is."""
        notes = [
            ("note_model", Note(name, version, reason))
            for name, found in self._notes.items()
            for version, reason in found.items()
        ]
        return [*(("load_model", order) for order in self._orders.values()), *notes]

    def index(self) -> list[IndexRow]:
        """What is known here of every version, served or not."""
        rows = {
            (name, version): IndexRow(name, version, _UNAVAILABLE, reason)
            for name, found in self._notes.items()
            for version, reason in found.items()
        }
        for model, name in self._retiring.items():
            rows[name, model.version] = IndexRow(name, model.version, _UNLOADING, "")
        for name, model in self._table.all():
            rows[name, model.version] = IndexRow(name, model.version, _READY, "")
            reason = self._notes.get(name, {}).get(model.version)
            if reason is not None:  # its successor of the same number failed
                rows[name, model.version] = IndexRow(name, model.version, _READY, reason)
        for name, version in self._begun:
            if rows.get((name, version), _NO_ROW).state != _READY:
                rows[name, version] = IndexRow(name, version, _LOADING, "")
        return list(rows.values())

    def close(self) -> None:
        """Close every model that was loaded here. Nothing may be under way."""
        self._closed.set()
        with suppress(RuntimeError):  # the loop has ended, and they with it
            for task in list(self._tasks):
                task.cancel()
        loaded = [found.model for group in self._served.values() for found in group]
        for model in (*loaded, *self._retiring):
            model.close()
        self._served.clear()
        self._executor.shutdown(wait=False, cancel_futures=True)


_NO_ROW: Final = IndexRow("", "", "", "")


def load_version(order: Order, version: VersionOrder, settings: Settings) -> Model:
    """Load a version and warm it up; blocks. Nothing is left of one that fails."""
    own: dict[str, Any] = dict(order.settings.limits)
    if order.settings.engine is not None:
        own["engine"] = order.settings.engine
    if order.settings.quantize is not None:
        own["quantize"] = order.settings.quantize
    model = load(
        version.path,
        name=order.name,
        version=version.version,
        truncate=order.settings.truncate,
        allow_non_finite=order.settings.allow_non_finite,
        labels=order.labels,
        settings=replace(settings, **own),
    )
    try:
        warm_up(model, order.name, order.warmup)
    except BaseException:
        model.close()
        raise
    return model


def _close_result(task: Future[Model]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def merge_index(answers: Sequence[Sequence[IndexRow]]) -> list[IndexRow]:
    """Of all processes: a version is served when it is served in all."""
    rows: dict[tuple[str, str], IndexRow] = {}
    for row in (row for answer in answers for row in answer):
        old = rows.get((row.name, row.version))
        if old is None or (_STATES.index(row.state), not row.reason) < (
            _STATES.index(old.state),
            not old.reason,
        ):
            rows[row.name, row.version] = row
    return [rows[key] for key in sorted(rows)]
