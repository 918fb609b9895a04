"""The models of one server by name and version, and how one version takes the place of another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pelton.bridge import Front, ServedVersion
from pelton.errors import ModelNotFound
from pelton.metrics import PathSnapshot
from pelton.model import Model

__all__ = ["NAME_BYTES_MAX", "ModelTable"]

_LOG: Final = logging.getLogger("pelton.server")
NAME_BYTES_MAX: Final = 255
_IDLE_POLL_S: Final = 0.02

_Counts = Callable[[], PathSnapshot]


class ModelTable:
    """Changed on the event loop only; read by any thread, which sees each change whole."""

    def __init__(self, models: Mapping[str, Model]) -> None:
        self._versions: Mapping[str, Sequence[Model]] = {n: (model,) for n, model in models.items()}
        #: By name, the version of requests that name none.
        self.latest: Mapping[str, Model] = dict(models)
        self._front: Front | None = None
        self._native: dict[tuple[str, Model], tuple[ServedVersion, _Counts]] = {}
        self._borrowed: dict[Model, int] = {}

    def all(self) -> list[tuple[str, Model]]:
        """Every version of every model, with the name that it is served as."""
        return [(name, model) for name, found in self._versions.items() for model in found]

    def versions(self, name: str) -> Sequence[Model]:
        """Those of a model, the one of requests that name none first; empty for an unknown name."""
        return self._versions.get(name, ())

    def find(self, name: str, version: str | None = None) -> Model:
        """Raises `ModelNotFound` for an unknown name or version."""
        found = self._versions.get(name)
        if found is None:
            shown = name if len(name.encode()) <= NAME_BYTES_MAX else name[:64] + "…"
            raise ModelNotFound(f"there is no model {shown!r}", model=shown)
        for model in found:
            if version in (None, model.version):
                return model
        assert version is not None
        its = "its version is" if len(found) == 1 else "its versions are"
        raise ModelNotFound(
            f"model {name!r} has no version {version[:64]!r}; {its} "
            + ", ".join(model.version for model in found),
            model=name,
            version=version[:64],
        )

    def replace(self, name: str, models: Sequence[Model]) -> None:
        """Serve these versions as `name` from now on, the first to requests that name none; without
        any there is no such model. Requests under way go on with the version that they found. Where
        it raises, nothing has changed."""
        native = self._native_versions(name, models) if self._front is not None else ()
        versions, latest = dict(self._versions), dict(self.latest)
        if models:
            versions[name], latest[name] = tuple(models), models[0]
        else:
            versions.pop(name, None)
            latest.pop(name, None)
        self._versions, self.latest = versions, latest
        if self._front is None:
            return
        if models:
            self._front.set_model(name, native)
        else:
            self._front.remove_model(name)

    def open_front(self, front: Front) -> None:
        """Put every model on the native path too."""
        self._front = front
        for name, models in self._versions.items():
            front.set_model(name, self._native_versions(name, models))

    def _native_versions(self, name: str, models: Sequence[Model]) -> Sequence[ServedVersion]:
        """Of all these models, or none: a name's requests take one way, whatever their version."""
        served = [self._native_version(name, model) for model in models]
        found = [version for version in served if version is not None]
        return found if len(found) == len(models) else ()

    def _native_version(self, name: str, model: Model) -> ServedVersion | None:
        if (name, model) in self._native:
            return self._native[name, model][0]
        contract = model.served_contract()
        if contract is None:
            return None
        version = ServedVersion(name, model.version, contract)
        counts = version.counts
        model.metrics.add_path(counts)
        self._native[name, model] = (version, counts)
        return version

    # -- what is under way -------------------------------------------------------------------------
    def borrow(self, model: Model) -> None:
        """It is not closed before `give_back`."""
        self._borrowed[model] = self._borrowed.get(model, 0) + 1

    def give_back(self, model: Model) -> None:
        left = self._borrowed.pop(model) - 1
        if left:
            self._borrowed[model] = left

    def is_in_use(self, model: Model) -> bool:
        """Whether it is served, or a request for it is under way."""
        return model in self._borrowed or any(
            version.is_in_use for (_, other), (version, _) in self._native.items() if other is model
        )

    async def retire(
        self, models: Iterable[Model], wait_s_max: float, closers: ThreadPoolExecutor
    ) -> None:
        """Close models that are served no more: each when its last request is answered, at the
        latest after `wait_s_max`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s_max
        for model in models:
            while self.is_in_use(model) and loop.time() < deadline:
                await asyncio.sleep(_IDLE_POLL_S)
            if self.is_in_use(model):
                _LOG.warning(
                    "%s version %s is closed with requests under way", model.name, model.version
                )
            self._forget(model)
            await loop.run_in_executor(closers, model.close)

    def _forget(self, model: Model) -> None:
        for key in [key for key in self._native if key[1] is model]:
            _, counts = self._native.pop(key)
            model.metrics.end_path(counts)

    def close(self) -> None:
        """The front has ended. The models are their owners' to close."""
        for _, model in list(self._native):
            self._forget(model)
