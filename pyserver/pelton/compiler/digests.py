"""SHA-256 of model files, remembered so that a warm start does not read 90 MB to hash them.

A remembered digest is believed only for a file with the same path, device, inode, size,
modification and change time, and only if that file had already been left alone for a while when it
was hashed: within one tick of the file system's clock a file can change without its times changing
(Git's documentation calls this the racy problem, "racy-git"). The change time cannot be set back by
`touch` or by copying with times kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pelton.compiler._source import refuse

__all__ = ["DigestMemo", "combined_digest", "identity", "sha256_file"]

#: Files below this are always read: that costs less than looking them up is worth.
_MEMO_BYTES_MIN: Final = 1 << 20
_ENTRIES_MAX: Final = 256
_MEMO_FILE_BYTES_MAX: Final = 1 << 20
#: Coarser than the clock of any file system in use (FAT: 2 s).
_SETTLED_NS: Final = 3_000_000_000


def identity(path: Path) -> tuple[int, ...]:
    """What changes when a file's content may have changed."""
    facts = path.stat()
    return (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


def sha256_file(path: Path) -> str:
    """Lower-case hex digest of the file's bytes."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise refuse(str(path), "a readable file", error.strerror or error) from None


def combined_digest(digests: Mapping[str, str]) -> str:
    """One digest of named digests: the SHA-256 of what `sha256sum` prints for the files, sorted by
    name."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _known_digest(entry: Any, facts: list[int]) -> str | None:
    """The digest of a remembered file, if it is still that file."""
    if not isinstance(entry, dict) or entry.get("identity") != facts:
        return None
    digest = entry.get("sha256")
    return digest if isinstance(digest, str) else None


class DigestMemo:
    """Digests of large files, kept in one JSON file that only its owner can write. Reading and
    replacing it are atomic; of two processes that add to it at once, one addition may be lost,
    which costs one more hashing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def digests(self, folder: Path, names: Iterable[str]) -> dict[str, str]:
        """The digest of each file `folder/name`."""
        entries = self._load()
        fresh: dict[str, Any] = {}
        found = {}
        for name in names:
            path = folder / name
            facts = list(identity(path))
            known = _known_digest(entries.get(os.path.abspath(path)), facts)
            if known is not None:
                found[name] = known
                continue
            settled = time.time_ns() - max(facts[-2:]) > _SETTLED_NS
            found[name] = sha256_file(path)
            if settled and facts[2] >= _MEMO_BYTES_MIN and list(identity(path)) == facts:
                fresh[os.path.abspath(path)] = {"identity": facts, "sha256": found[name]}
        if fresh:
            self._save({**{k: v for k, v in entries.items() if k not in fresh}, **fresh})
        return found

    def _load(self) -> dict[str, Any]:
        """What is remembered; nothing where the file is missing, damaged or not ours alone."""
        try:
            with self._path.open("rb") as file:
                facts = os.fstat(file.fileno())
                if facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
                    return {}
                document = json.loads(file.read(_MEMO_FILE_BYTES_MAX))
        except (OSError, ValueError, RecursionError):
            return {}
        entries = document.get("files") if isinstance(document, dict) else None
        return entries if isinstance(entries, dict) else {}

    def _save(self, entries: dict[str, Any]) -> None:
        from pelton.compiler.plan_writer import write_file

        newest = dict(list(entries.items())[-_ENTRIES_MAX:])
        write_file(self._path, [json.dumps({"files": newest}).encode()], mode=0o600)
