"""What lies in a repository: `DIR/<model>/<version>/<artefact>`, and `DIR/<model>/model.toml`.

Nothing here changes the folder, and nothing is loaded. Names that begin with a dot or end in
`.tmp` are left to whoever is writing them; a folder of a model that is no version is not looked at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from pelton.errors import InvalidSettings, ModelNotFound, UnsupportedModel
from pelton.model_settings import ModelSettings, read_model_settings

__all__ = [
    "Fingerprint",
    "ModelFolder",
    "check_repository",
    "file_in",
    "find_artefact",
    "fingerprint",
    "model_names",
    "read_model",
    "wanted_versions",
]

_SETTINGS: Final = "model.toml"
_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}")
_MODELS_MAX: Final = 10_000
_FILES_MAX: Final = 10_000
_ENCODER_FILES: Final = ("config.json", "model.safetensors", "tokenizer.json")
_EXPECTED: Final = "one of model.onnx, the files of a Hugging Face encoder, NAME.plan"

#: The files of a folder with their sizes and times: the same again means that nobody writes.
Fingerprint = tuple[tuple[str, int, int], ...]


class ModelFolder(NamedTuple):
    """A model as it lies there. `versions` are the numbers of its folders, in order;
    `fingerprint` is of the files beside them."""

    name: str
    path: str
    settings: ModelSettings
    versions: tuple[int, ...]
    fingerprint: Fingerprint

    def version_path(self, version: int) -> str:
        """The folder of a version."""
        return os.path.join(self.path, str(version))


def check_repository(root: str) -> None:
    """Raises `InvalidSettings` where it is no folder that can be read."""
    try:
        with os.scandir(root):
            pass
    except OSError as error:
        raise InvalidSettings(
            f"the repository {root}: {error.strerror}", field="repository"
        ) from None


def _is_skipped(name: str) -> bool:
    return name.startswith(".") or name.endswith(".tmp")


def _folders(path: str) -> Iterator[str]:
    """The names of the folders in one; none where it has gone."""
    try:
        with os.scandir(path) as entries:
            yield from [entry.name for entry in entries if _is_folder(entry)]
    except (FileNotFoundError, NotADirectoryError):
        return


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return not _is_skipped(entry.name) and entry.is_dir()
    except OSError:  # a link that leads nowhere
        return False


def model_names(root: str) -> list[str]:
    """The names of the models that have a folder, in order. Raises `OSError`, and
    `InvalidSettings` for more than can be."""
    with os.scandir(root) as entries:
        names = sorted(entry.name for entry in entries if _is_folder(entry))
    if len(names) > _MODELS_MAX:
        raise InvalidSettings(
            f"the repository {root}: expected at most {_MODELS_MAX} models, got {len(names)}",
            field="repository",
        )
    return names


def read_model(root: str, name: str) -> ModelFolder:
    """The model of that name. Raises `ModelNotFound` where it has no folder, `InvalidSettings` for
    what its model.toml says. `name` may be anything: it is looked up, never made a path of."""
    if name not in model_names(root):
        raise ModelNotFound(f"there is no model {name[:64]!r} in the repository", model=name[:64])
    path = os.path.join(root, name)
    versions = sorted(int(found) for found in _folders(path) if _VERSION.fullmatch(found))
    before = fingerprint(path, is_deep=False)
    settings = read_model_settings(os.path.join(path, _SETTINGS))
    return ModelFolder(name, path, settings, tuple(versions), before)


def wanted_versions(model: ModelFolder) -> tuple[int, ...]:
    """The versions that are to be served, of those that there are. Raises `ModelNotFound` where
    there is none."""
    policy = model.settings.versions
    if policy == "all":
        wanted = model.versions
    elif policy == "latest":
        wanted = model.versions[-1:]
    else:
        missing = [str(version) for version in policy if version not in model.versions]
        if missing:
            raise ModelNotFound(
                f"model {model.name!r} has no folder for version {', '.join(missing)}, which its "
                f"{_SETTINGS} names",
                model=model.name,
                version=missing[0],
            )
        wanted = policy
    if not wanted:
        raise ModelNotFound(
            f"model {model.name!r} has no version: expected folders named 1, 2, …",
            model=model.name,
        )
    return wanted


def find_artefact(folder: str) -> str:
    """The path of the one model in a version's folder. Raises `UnsupportedModel`."""
    try:
        names = sorted(name for name in os.listdir(folder) if not _is_skipped(name))
    except OSError as error:
        raise ModelNotFound(f"{folder}: {error.strerror}") from None
    found = [name for name in names if name == "model.onnx" or name.endswith(".plan")]
    if all(name in names for name in _ENCODER_FILES[:2]):
        found.append("")
    if len(found) == 1:
        return os.path.join(folder, found[0]) if found[0] else folder
    if found:
        got = ", ".join(name or " and ".join(_ENCODER_FILES[:2]) for name in found)
        raise UnsupportedModel(f"{folder}: expected {_EXPECTED}, got {got}", got=got)
    python = [name for name in names if name.endswith(".py")]
    if python:
        got = f"{python[0]}: Python models are not served from a repository"
    else:
        shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        got = shown or "no files"
    raise UnsupportedModel(
        f"{folder}: expected {_EXPECTED}, got {got}", expected=_EXPECTED, got=got
    )


def file_in(model: ModelFolder, name: str) -> str:
    """The path of a file that a model's settings name. Raises `InvalidSettings` where it is not
    there."""
    path = os.path.join(model.path, name)
    if not os.path.isfile(path):
        raise InvalidSettings(f"{path}: there is no such file, which {_SETTINGS} names", field=name)
    return path


def fingerprint(folder: str, *, is_deep: bool = True) -> Fingerprint:
    """Of the files in a folder and, `is_deep`, in those below it; of none where it has gone. Raises
    `UnsupportedModel` for more files than a model has."""
    found: list[tuple[str, int, int]] = []
    for path, folders, names in os.walk(folder, followlinks=False):
        if not is_deep:
            folders.clear()
        for name in names:
            full = os.path.join(path, name)
            try:
                status = os.stat(full)
            except FileNotFoundError:  # renamed or removed a moment ago; that shows next time
                continue
            found.append((os.path.relpath(full, folder), status.st_size, status.st_mtime_ns))
            if len(found) > _FILES_MAX:
                raise UnsupportedModel(f"{folder}: expected at most {_FILES_MAX} files")
    return tuple(sorted(found))
