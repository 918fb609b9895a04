"""Regions of POSIX shared memory that clients of this host have registered, read and written
through their descriptors.

Nothing is mapped: a client that truncates its object under a mapping would end this process with
SIGBUS, and one that writes while the engine reads would change an input after it was checked. A
`pread` into memory of our own is one copy, and returns less where the object shrank.
"""

from __future__ import annotations

import errno
import os
import stat
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Final

from pelton.errors import AlreadyExists, InvalidInput, QueueFull

__all__ = ["Region", "Regions"]

_FOLDER: Final = "/dev/shm"
_NAME_BYTES_MAX: Final = 255
_REGIONS_MAX: Final = 256
_INT64_MAX: Final = 2**63 - 1
# Triton's own names: its clients may not use them, and so do not expect them to work.
_RESERVED_PREFIX: Final = "triton_python_backend_shm_region_"


class Region:
    """`byte_size` bytes of an object, from `offset` on. To hold a reference is to pin it: the
    object is closed with the last one, that of the table or of a request in whatever thread."""

    def __init__(self, name: str, key: str, offset: int, byte_size: int, descriptor: int) -> None:
        self.name = name
        self.key = key
        self.offset = offset
        self.byte_size = byte_size
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)

    def read(self, offset: int, size: int) -> memoryview:
        """A copy. Raises `InvalidInput` where the object ends before."""
        copy = memoryview(bytearray(size))
        done = 0
        while done < size:
            count = os.preadv(self._descriptor, [copy[done:]], self.offset + offset + done)
            if count == 0:
                raise self._bad(f"{size} bytes at {offset}", f"{done}: the object has shrunk")
            done += count
        return copy.toreadonly()

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Raises `InvalidInput` where the object ends before the data does (it is not made longer),
        or its memory cannot be had."""
        end = self.offset + offset + len(data)
        if os.fstat(self._descriptor).st_size < end:
            raise self._bad(f"{len(data)} bytes at {offset}", "less: the object has shrunk")
        view = memoryview(data)
        done = 0
        try:
            while done < len(view):
                done += os.pwrite(self._descriptor, view[done:], self.offset + offset + done)
        except OSError as error:  # the file system has no room for pages that were never touched
            raise self._bad(f"room for {len(data)} bytes", str(error.strerror)) from None

    def check(self, offset: int, size: int) -> None:
        """Raises `InvalidInput` unless these bytes are the region's."""
        if offset + size > self.byte_size:
            raise self._bad(f"at most {self.byte_size} bytes", f"{size} bytes at {offset}")

    def _bad(self, expected: str, got: str) -> InvalidInput:
        return InvalidInput(
            f"shared memory region {self.name!r}: expected {expected}, got {got}",
            field="shared_memory_region",
            expected=expected,
            got=got,
        )


class Regions:
    """The table of regions by name. Used on the event loop only; a `Region` from any thread."""

    def __init__(self, folder: str = _FOLDER) -> None:
        self._folder = folder
        self._by_name: dict[str, Region] = {}
        #: Connections whose peer was found to be a process of this user.
        self.trusted: weakref.WeakSet[Any] = weakref.WeakSet()

    def register(self, name: str, key: str, offset: int, byte_size: int) -> None:
        """Raises `AlreadyExists` for a name in use, `InvalidInput` for an object that does not
        exist, is another user's, or has not these bytes, and `QueueFull` for one region too
        many."""
        if name in self._by_name:
            raise AlreadyExists(f"shared memory region {name!r} is registered already", got=name)
        if len(self._by_name) >= _REGIONS_MAX:
            raise QueueFull(f"expected at most {_REGIONS_MAX} regions of shared memory")
        descriptor = self._open(key)
        try:
            _check_object(descriptor, key, offset, byte_size)
        except BaseException:
            os.close(descriptor)
            raise
        self._by_name[name] = Region(name, key, offset, byte_size, descriptor)

    def _open(self, key: str) -> int:
        file = key.removeprefix("/")
        if (
            not 0 < len(file.encode(errors="replace")) <= _NAME_BYTES_MAX
            or "/" in file
            or "\0" in file
            or file in (".", "..")
            or file.startswith(_RESERVED_PREFIX)
        ):
            raise _bad_key("a name for shm_open without a slash", key)
        try:
            # Not to wait, not to be led elsewhere, not to pass it on to a child.
            flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            return os.open(f"{self._folder}/{file}", flags)
        except OSError as error:
            reason = errno.errorcode.get(error.errno or 0, "an error")
            raise _bad_key("an object that this server may open", f"{key} ({reason})") from None

    def unregister(self, name: str) -> None:
        """What uses it goes on. Raises `InvalidInput` for an unknown name."""
        self.region(name)
        del self._by_name[name]

    def unregister_all(self) -> None:
        self._by_name.clear()

    def remove(self, names: Iterable[str] | None) -> Callable[[], None]:
        """Unregister those of the names that are registered, or all; returns what undoes it."""
        wanted = list(self._by_name) if names is None else names
        removed = {name: self._by_name.pop(name) for name in wanted if name in self._by_name}
        return lambda: self._by_name.update(removed)

    def region(self, name: str) -> Region:
        """Raises `InvalidInput` for an unknown name."""
        region = self._by_name.get(name)
        if region is None:
            raise InvalidInput(
                f"there is no shared memory region {name[:64]!r}",
                field="shared_memory_region",
                got=name[:64],
            )
        return region

    def status(self) -> list[dict[str, str | int]]:
        """Every region, as the protocol shows it."""
        return [
            {
                "name": region.name,
                "key": region.key,
                "offset": region.offset,
                "byte_size": region.byte_size,
            }
            for region in self._by_name.values()
        ]


def _check_object(descriptor: int, key: str, offset: int, byte_size: int) -> None:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        raise _bad_key("an object of the user that runs this server", key)
    if offset + byte_size > min(found.st_size, _INT64_MAX):
        expected = f"at most the object's {found.st_size} bytes"
        raise InvalidInput(
            f"shared memory key {key!r}: expected {expected}, got {byte_size} at {offset}",
            field="byte_size",
            expected=expected,
            got=f"{byte_size} at {offset}",
        )


def _bad_key(expected: str, got: str) -> InvalidInput:
    return InvalidInput(
        f"shared memory key: expected {expected}, got {got[:80]!r}",
        field="key",
        expected=expected,
        got=got[:80],
    )
