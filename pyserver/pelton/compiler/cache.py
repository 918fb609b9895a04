"""The plan cache: a folder of compiled plans, keyed by content, compiler version and settings.

A cached plan is written under a temporary name, renamed and never changed; its modification time
says when it was last used. Two processes that want the same plan at once compile it once: the
second waits at a file lock and finds it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pelton.compiler.digests import DigestMemo
from pelton.compiler.plan_format import FORMAT_VERSION
from pelton.compiler.version import COMPILER_VERSION
from pelton.errors import CorruptPlan, InvalidSettings, ModelNotFound, Unavailable, UnsupportedPlan

__all__ = ["PlanCache", "plan_key"]

_LOG: Final = logging.getLogger("pelton.compiler")
_SUFFIX: Final = ".plan"
_TEMPORARY: Final = ".tmp"
_LOCKS: Final = 64
_LOCK_WAIT_S: Final = 600.0
_LOCK_POLL_S: Final = 0.02
_TEMPORARY_AGE_S: Final = 3600.0
_T = TypeVar("_T")


def plan_key(digests: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    """Hex name of the plan that these files give under these settings."""
    facts = {
        "compiler": COMPILER_VERSION,
        "format": FORMAT_VERSION,
        "files": dict(digests),
        "settings": dict(settings),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:40]


@dataclass(frozen=True, slots=True)
class PlanCache:
    """Plans under `folder/plans`. Safe for any number of processes and threads.

    `bytes_max` bounds the plans kept; the least recently used go first, never the one just made,
    so that a model larger than the limit still starts.
    """

    folder: Path
    bytes_max: int

    @property
    def plans(self) -> Path:
        return self.folder / "plans"

    @property
    def memo(self) -> DigestMemo:
        return DigestMemo(self.plans / "digests.json")

    def prepare(self) -> None:
        """Makes the folder, for its owner alone. Raises `InvalidSettings` where that cannot be."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.plans.mkdir(mode=0o700, exist_ok=True)
            facts = self.plans.stat()
            if facts.st_uid != os.geteuid():
                raise InvalidSettings(
                    f"{self.plans}: expected a folder of user {os.geteuid()}, "
                    f"got one of user {facts.st_uid}; set PELTON_CACHE_DIR",
                    field="cache_dir",
                )
            if facts.st_mode & 0o077:
                self.plans.chmod(0o700)
        except OSError as error:
            raise InvalidSettings(
                f"{self.plans}: expected a folder that can be written, got {error.strerror}; "
                "set PELTON_CACHE_DIR",
                field="cache_dir",
            ) from None

    def open(
        self, key: str, compile_to: Callable[[Path], None], opener: Callable[[Path], _T]
    ) -> _T:
        """`opener(path)` of the plan with this key, made by `compile_to(path)` where there is none
        or where `opener` refuses it. REQUIRES: `prepare()` has returned; `compile_to` puts the file
        there whole or not at all."""
        path = self.plans / (key + _SUFFIX)
        opened = self._try_open(path, opener)
        if opened is not None:
            return opened
        with self._lock(key):
            opened = self._try_open(path, opener)  # another process may have been here first
            if opened is not None:
                return opened
            compile_to(path)
            plan = opener(path)
        self._evict(path)
        return plan

    def _try_open(self, path: Path, opener: Callable[[Path], _T]) -> _T | None:
        if not path.exists():
            return None
        try:
            plan = opener(path)
        except (CorruptPlan, UnsupportedPlan) as error:
            _LOG.warning("a cached plan is refused and will be compiled again: %s", error)
            return None
        except ModelNotFound:  # evicted since the check
            return None
        with suppress(OSError):
            os.utime(path)
        return plan

    @contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        """One of a fixed number of lock files, which are never removed: removing a locked file
        would let a third process lock another file of the same name."""
        path = self.plans / f"lock-{int(key[:8], 16) % _LOCKS:02d}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _wait_for_lock(descriptor, path)
            yield
        finally:
            os.close(descriptor)  # releases the lock

    def _evict(self, kept: Path) -> None:
        """Removes what is over the limit, oldest use first, and what killed writers left."""
        plans = []
        for entry in os.scandir(self.plans):
            with suppress(FileNotFoundError):
                facts = entry.stat(follow_symlinks=False)
                age_s = time.time() - facts.st_mtime
                if entry.name.endswith(_SUFFIX):
                    plans.append((facts.st_mtime_ns, facts.st_size, entry.path))
                elif entry.name.endswith(_TEMPORARY) and age_s > _TEMPORARY_AGE_S:
                    os.unlink(entry.path)
        total = sum(size for _, size, _ in plans)
        for _, size, path in sorted(plans):
            if total <= self.bytes_max:
                return
            if path == os.fspath(kept):
                continue
            _LOG.info("plan cache over %d bytes: removing %s", self.bytes_max, path)
            with suppress(FileNotFoundError):
                os.unlink(path)
            total -= size


def _wait_for_lock(descriptor: int, path: Path) -> None:
    """`flock` with a bound: a holder that hangs must not hang everybody."""
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EINTR):
                raise
        if time.monotonic() >= deadline:
            raise Unavailable(f"{path}: another process has held this for {_LOCK_WAIT_S:.0f} s")
        time.sleep(_LOCK_POLL_S)
