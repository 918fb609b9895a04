"""What the parent and a worker say to each other, and how it is framed.

The channel is a socket pair that only these two processes hold, both of one program and one user,
so messages are pickled: snapshots and errors arrive as they were. A frame is a length of four
bytes, little-endian, and the pickle.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from pelton.errors import Error, Internal
from pelton.settings import Settings

__all__ = [
    "ENDED",
    "TAKEN",
    "Answer",
    "Apply",
    "Ask",
    "Decoder",
    "Do",
    "Drain",
    "Failed",
    "Job",
    "Keep",
    "Question",
    "Serving",
    "StopNow",
    "Stopped",
    "Undo",
    "encode",
]

#: What a worker says of a connection on the socket that it came by. Before it reads from one it
#: says that it has it: one that was never taken by a worker that died is given to another.
TAKEN: Final = b"+"
ENDED: Final = b"-"

_LENGTH: Final = struct.Struct("<I")
_FRAME_BYTES_MAX: Final = 64 << 20


class Job(NamedTuple):
    """Parent: what to serve. `models` are (name, plan, source): the source is loaded where the plan
    is gone. `commands` bring the worker to where the others are."""

    number: int
    settings: Settings
    models: Sequence[tuple[str, str, str]]
    commands: Sequence[tuple[str, Any]]


class Serving(NamedTuple):
    """Worker: it takes connections."""


class Failed(NamedTuple):
    """Worker: it cannot serve, and ends."""

    error: Error


class Question(NamedTuple):
    """Parent: give your own answer."""

    id: int
    name: str


class Do(NamedTuple):
    """Parent: carry out a command. `Keep` or `Undo` follows."""

    id: int
    command: str
    payload: Any


class Keep(NamedTuple):
    """Parent: all have the last command."""

    id: int


class Undo(NamedTuple):
    """Parent: not all have the last command; as if it had not been."""

    id: int


class Ask(NamedTuple):
    """Worker: what do all together answer?"""

    id: int
    name: str


class Apply(NamedTuple):
    """Worker: a command for all."""

    id: int
    command: str
    payload: Any


class Answer(NamedTuple):
    """Either side: of the message with that id. `error` is what it failed with."""

    id: int
    value: Any = None
    error: Error | None = None


class Drain(NamedTuple):
    """Parent: not ready from now on. The end of the connections' socket says to stop."""


class StopNow(NamedTuple):
    """Parent: end without waiting for answers."""


class Stopped(NamedTuple):
    """Worker: its last word; requests it accepted and those of them that got no answer."""

    accepted: int
    unanswered: int
    was_cut_short: bool


def encode(message: Any) -> bytes:
    """The frame of a message."""
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


class Decoder:
    """Frames from bytes as they come. Raises `Internal` for a frame that is over the limit."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """The messages that are complete with `data`."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._buffer)
            if size > _FRAME_BYTES_MAX:
                raise Internal(f"a message between processes has {size} bytes")
            end = _LENGTH.size + size
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield pickle.loads(body)
