"""Requests that no server likes: what a soak mixes into its load, and what each must lead to."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bench.server.requests import post

__all__ = ["BadRequest", "Outcome", "bad_requests", "send_bad"]

_ANSWER_S_MAX: Final = 30.0
_ANSWER_BYTES_MAX: Final = 4 << 20
_CLOSE: Final = {"Connection": "close"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRequest:
    """`answers` is how many the bytes must get, None where the server may also close without one
    (it cannot know where the message ends). `good` ones are legal and must get 200. `leaves` means
    that the client closes at once. `drips` sends one byte at a time."""

    name: str
    data: bytes
    answers: int | None = 1
    good: bool = False
    leaves: bool = False
    drips: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The statuses of the answers in their order; `problem` is empty where all is as it must be."""

    statuses: tuple[int, ...]
    problem: str


def _infer(document: object, path: str = "/v2/models/add/infer") -> bytes:
    body = json.dumps(document).encode()
    return post(path, body, {**_CLOSE, "Content-Type": "application/json"})


def _tensor(**changes: object) -> dict[str, object]:
    tensor = {"name": "x", "shape": [1, 16], "datatype": "FP32", "data": [0.5] * 16, **changes}
    return {"inputs": [tensor]}


def _contents() -> Iterator[BadRequest]:
    """HTTP that is in order, around something that is not."""
    bodies = {
        "empty body": b"",
        "no JSON": b"{inputs",
        "deep JSON": b"[" * 100_000,
        "a number of a million digits": b'{"inputs": ' + b"9" * 1_000_000 + b"}",
        "duplicate names": b'{"inputs": [], "inputs": []}',
        "not UTF-8": b'{"inputs": "\xff"}',
    }
    json_type = {**_CLOSE, "Content-Type": "application/json"}
    for name, body in bodies.items():
        yield BadRequest(name=name, data=post("/v2/models/add/infer", body, json_type))
    documents = {
        "no such input": _tensor(name="z"),
        "wrong shape": _tensor(shape=[2, 16]),
        "negative shape": _tensor(shape=[-1, 16]),
        "huge shape": _tensor(shape=[2**31, 2**31]),
        "wrong datatype": _tensor(datatype="FP64X"),
        "text for numbers": _tensor(data=["a"] * 16),
        "no inputs": {"inputs": []},
    }
    for name, document in documents.items():
        yield BadRequest(name=name, data=_infer(document))
    yield BadRequest(name="no such model", data=_infer(_tensor(), "/v2/models/none/infer"))
    yield BadRequest(name="no such route", data=post("/nowhere", b"{}", _CLOSE))
    packed = {**_CLOSE, "Content-Type": "application/msgpack"}
    for name, body in (("msgpack bomb", b"\xdd\xff\xff\xff\xff"), ("bad msgpack", b"\xc1")):
        yield BadRequest(name=name, data=post("/v2/models/add/infer", body, packed))
    binary = {**_CLOSE, "Inference-Header-Content-Length": "999999"}
    yield BadRequest(name="head over body", data=post("/v2/models/add/infer", b"{}", binary))
    gzip = {**json_type, "Content-Encoding": "gzip"}
    yield BadRequest(name="no gzip", data=post("/v2/models/add/infer", b"plain", gzip))


def _framing() -> Iterator[BadRequest]:
    """HTTP that is not in order."""
    start = b"POST /v2/models/add/infer HTTP/1.1\r\nHost: x\r\n"
    heads = {
        "two lengths": start + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "length and chunks": start
        + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "length of letters": start + b"Content-Length: ten\r\n\r\n",
        "space before the colon": start + b"Content-Length : 2\r\n\r\n{}",
        "bad chunk size": start + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        "bare line feeds": b"GET / HTTP/1.1\nHost: x\n\n" + b"\r\n\r\n",
        "a head without end": start + b"X: " + b"y" * 200_000,
        "many headers": start + b"".join(b"X-%d: y\r\n" % i for i in range(5000)) + b"\r\n",
        "a long target": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    }
    for name, data in heads.items():
        yield BadRequest(name=name, data=data, answers=None)
    large = start + b"Content-Length: 99999999999\r\n\r\n"
    yield BadRequest(name="a body of 100 GB announced", data=large, answers=None)


def bad_requests(good: bytes) -> list[BadRequest]:
    """All kinds; `good` is a request that the server answers with 200."""
    closing = good.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
    return [
        *_contents(),
        *_framing(),
        BadRequest(name="leaves within the head", data=good[:20], leaves=True, answers=None),
        BadRequest(name="leaves within the body", data=good[:-3], leaves=True, answers=None),
        BadRequest(name="leaves before the answer", data=good, leaves=True, answers=None),
        BadRequest(name="one byte at a time", data=closing, drips=True, good=True),
        BadRequest(name="pipelined", data=good * 3 + closing, answers=4, good=True),
    ]


def send_bad(port: int, request: BadRequest) -> Outcome:
    """Sends it on a connection of its own and reads until the server closes."""
    received = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_S_MAX) as connection:
            try:
                _send(connection, request)
                if request.leaves:
                    return Outcome((), "")
                received = _receive(connection, request)
            except (ConnectionResetError, BrokenPipeError):
                pass  # the rest of what was sent was not wanted; the answer may have come before
    except OSError as error:
        return Outcome((), f"{request.name}: {error or 'no answer'}")
    return _judge(request, received)


def _send(connection: socket.socket, request: BadRequest) -> None:
    if not request.drips:
        connection.sendall(request.data)
        return
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in request.data:
        connection.sendall(bytes([byte]))


def _receive(connection: socket.socket, request: BadRequest) -> bytes:
    """What came until the server closed; of a request whose end the server cannot know, also until
    it has answered and waits for more."""
    received = b""
    deadline = time.monotonic() + _ANSWER_S_MAX
    while len(received) < _ANSWER_BYTES_MAX:
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            part = connection.recv(65536)
        except ConnectionResetError:
            break
        if not part:
            break
        received += part
        if request.answers is None and _statuses(received):
            break
    return received


def _statuses(received: bytes) -> list[int]:
    """Of the whole answers in what was received; -1 for bytes that are none."""
    found: list[int] = []
    while received:
        head, end, rest = received.partition(b"\r\n\r\n")
        words = head.split(b" ", 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            return [*found, -1]
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        if not end or len(rest) < length:
            return found
        if int(words[1]) != 100:
            found.append(int(words[1]))
        received = rest[length:]
    return found


def _judge(request: BadRequest, received: bytes) -> Outcome:
    statuses = tuple(_statuses(received))
    expected = "200" if request.good else "a status of 400 to 499, 501 or 505"
    problem = ""
    if request.answers is not None and len(statuses) != request.answers:
        problem = f"{request.name}: {len(statuses)} answers, expected {request.answers}"
    for status in statuses:
        fits = status == 200 if request.good else 400 <= status < 500 or status in (501, 505)
        if not fits:
            problem = f"{request.name}: status {status}, expected {expected}"
    return Outcome(statuses, problem)
