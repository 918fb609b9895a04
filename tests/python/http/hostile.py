"""A server with a model on each of its two paths, and clients that do as they like."""

from __future__ import annotations

import io
import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pelton.app import Server
from pelton.model import Model, load
from pelton.settings import Settings
from python import toys

LIMIT_S = 30.0
#: Read from the socket by native code, and run without a Python frame.
NATIVE = "/v2/models/plus_one/infer"
#: Handed to uvicorn and answered by the ASGI application.
PYTHON = "/v2/models/told/infer"
PATHS = (NATIVE, PYTHON)


class Running:
    """`pelton.Server` on a free port; the model `told` does as the test says. With `has_text` there
    is an encoder, `tiny`, too."""

    def __init__(self, folder: Path, *, has_text: bool = False, **changes: Any) -> None:
        settings = Settings(threads=1, cache_dir=str(folder / "cache"), **changes)
        self.backend, told = toys.told_model()
        self.plan_model: Model = toys.load_plan(toys.plus_one(folder), settings)
        self._models = {"plus_one": self.plan_model, "told": told}
        if has_text:
            self._models["tiny"] = load(toys.tiny_encoder(folder), settings=settings)
        self.server = Server(self._models, port=0, settings=settings)
        self.state = self.server._state

    def connect(self) -> socket.socket:
        host, port = self.server.url.removeprefix("http://").split(":")
        sock = socket.create_connection((host, int(port)), timeout=LIMIT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def count(self, name: str) -> int:
        """Of the native path's counts."""
        return self.state.path_counts[name]

    def rows_run(self) -> int:
        """Of both models."""
        engine = self.plan_model.snapshot("plus_one").engine
        assert engine is not None
        return self.backend.begun + int(engine.batch_rows.total)

    def is_idle(self) -> bool:
        return self.state.in_flight == 0 and self.count("body_bytes") == 0

    def __enter__(self) -> Running:
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.backend.release()
        self.server.stop()
        for model in self._models.values():
            model.close()


@contextmanager
def running(folder: Path, **changes: Any) -> Iterator[Running]:
    with Running(folder, **changes) as server:
        yield server


def head(path: str, *fields: str, method: str = "POST", version: str = "HTTP/1.1") -> bytes:
    return "\r\n".join([f"{method} {path} {version}", "Host: x", *fields, "", ""]).encode("latin-1")


def width_of(path: str) -> int:
    return 1 if "/told/" in path else toys.WIDTH


def tensor(path: str, value: float = 1.0) -> dict[str, Any]:
    width = width_of(path)
    return {"name": "x", "shape": [1, width], "datatype": "FP32", "data": [value] * width}


def body_of(path: str, value: float = 1.0, **members: Any) -> bytes:
    return json.dumps({"inputs": [tensor(path, value)], **members}).encode()


def infer(path: str, value: float = 1.0, *fields: str) -> bytes:
    """One row, whole."""
    body = body_of(path, value)
    return head(path, f"Content-Length: {len(body)}", *fields) + body


def get(path: str, *fields: str) -> bytes:
    return head(path, *fields, method="GET")


def binary(path: str, rows: int) -> tuple[bytes, bytes]:
    """The head of the body, and the tensor's bytes, of a request for a raw answer."""
    width = width_of(path)
    size = 4 * width * rows
    text = json.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "shape": [rows, width],
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": size},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    return text, bytes(size)


def binary_infer(path: str, rows: int) -> bytes:
    text, data = binary(path, rows)
    fields = (
        f"Content-Length: {len(text) + len(data)}",
        f"Inference-Header-Content-Length: {len(text)}",
    )
    return head(path, *fields) + text + data


def chunked(path: str, *lines: bytes, fields: tuple[str, ...] = ()) -> bytes:
    """A request whose body is these bytes, chunk sizes and all."""
    return head(path, "Transfer-Encoding: chunked", *fields) + b"".join(lines)


def chunks(body: bytes, size: int, extension: bytes = b"") -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def closes(self) -> bool:
        return self.headers.get("connection") == "close"

    def json(self) -> Any:
        return json.loads(self.body)


class _Paused(io.RawIOBase):
    """A socket that is read 64 KiB at a time, with a pause before each."""

    def __init__(self, sock: socket.socket, pause_s: float) -> None:
        self._sock = sock
        self._pause_s = pause_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        time.sleep(self._pause_s)
        return self._sock.recv_into(memoryview(buffer)[: 64 << 10])


class Reader:
    """Reads answers off a socket one by one; slowly, with a pause."""

    def __init__(self, sock: socket.socket, pause_s: float = 0.0) -> None:
        self._file: Any = sock.makefile("rb")
        if pause_s:
            self._file = io.BufferedReader(_Paused(sock, pause_s), 64 << 10)

    def answer(self) -> Answer:
        """Raises EOFError where no further one comes."""
        line = self._file.readline()
        if not line:
            raise EOFError
        headers: dict[str, str] = {}
        while (field := self._file.readline().strip()) != b"":
            name, _, value = field.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        body = self._file.read(int(headers.get("content-length", 0)))
        return Answer(int(line.split()[1]), headers, body)

    def rest(self) -> list[Answer]:
        """All answers until the server closes."""
        answers: list[Answer] = []
        try:
            while True:
                answers.append(self.answer())
        except (EOFError, ConnectionResetError):
            return answers


def talk(server: Running, data: bytes, *, shut: bool = False) -> list[Answer]:
    """Sends it all on a connection of its own and reads until the server closes."""
    with server.connect() as sock:
        sock.sendall(data)
        if shut:
            sock.shutdown(socket.SHUT_WR)
        return Reader(sock).rest()


def ask(server: Running, data: bytes) -> Answer:
    """One answer on a connection of its own."""
    with server.connect() as sock:
        sock.sendall(data)
        return Reader(sock).answer()


def reset(sock: socket.socket) -> None:
    """Goes away without a goodbye."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def until(condition: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.002)
