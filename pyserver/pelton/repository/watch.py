"""What has changed in a repository, and is complete: found by looking at it again and again.

A version is complete when its folder has files and all of them had the same size and time at two
looks, one after the other. `Watch` decides; looking and acting are others' work.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from pelton.repository.layout import Fingerprint, fingerprint, model_names

__all__ = ["Change", "Seen", "Watch", "look"]

_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}")


class Seen(NamedTuple):
    """A model's folder at one look: of the files in it, and of each version's."""

    beside: Fingerprint
    versions: Mapping[int, Fingerprint]


class Change(NamedTuple):
    """What is to be done: load the model with these versions to choose from, or unload it where
    there are none."""

    name: str
    versions: frozenset[int]


def look(root: str) -> dict[str, Seen]:
    """The repository as it lies there. Raises `OSError` and what `fingerprint` raises."""
    found: dict[str, Seen] = {}
    for name in model_names(root):
        path = os.path.join(root, name)
        try:
            names = [version for version in os.listdir(path) if _VERSION.fullmatch(version)]
        except FileNotFoundError:  # removed a moment ago
            continue
        versions = {int(version): fingerprint(os.path.join(path, version)) for version in names}
        found[name] = Seen(fingerprint(path, is_deep=False), versions)
    return found


class Watch:
    """One look after the other. What it has said once it does not say again, whether or not it
    could be done: only when something changes. `served` is what has been dealt with already."""

    def __init__(self, served: Mapping[str, Seen]) -> None:
        self._last: Mapping[str, Seen] = served
        self._done: dict[str, Seen] = dict(served)

    def step(self, seen: Mapping[str, Seen]) -> list[Change]:
        """What is to be done after this look."""
        changes = []
        for name in sorted({*self._done, *seen}):
            complete = self._complete(name, seen)
            if complete is None or complete == self._done.get(name):
                continue
            if complete.versions:
                self._done[name] = complete
            elif self._done.pop(name, None) is None:
                continue  # it has never been there
            changes.append(Change(name, frozenset(complete.versions)))
        self._last = dict(seen)
        return changes

    def _complete(self, name: str, seen: Mapping[str, Seen]) -> Seen | None:
        """The model with the versions that are complete; None while anything is being written that
        has been dealt with before."""
        now, last = seen.get(name), self._last.get(name)
        if now is None:
            return Seen((), {}) if last is None else None
        if last is None or now.beside != last.beside:
            return None
        stable = {
            version: files
            for version, files in now.versions.items()
            if files and last.versions.get(version) == files
        }
        done = self._done.get(name)
        if done is not None and any(
            version in now.versions and version not in stable for version in done.versions
        ):
            return None
        return Seen(now.beside, stable)
