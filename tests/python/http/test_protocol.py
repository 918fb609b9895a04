"""The connection itself, over real sockets: heads, limits, pipelining, clients that go away."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pelton.app import Server
from pelton.http import state
from pelton.settings import Settings
from python import toys

LIMIT_S = 30.0
ROW = {"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1]}
BODY = json.dumps({"inputs": [ROW]}).encode()


def post(body: bytes = BODY, *extra: str) -> bytes:
    lines = [
        "POST /v2/models/told/infer HTTP/1.1",
        "Host: x",
        f"Content-Length: {len(body)}",
        *extra,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(path: str, *extra: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *extra]).encode() + b"\r\n\r\n"


class Told:
    """A server with one model that does as the test says."""

    def __init__(self, **changes) -> None:
        self.backend, model = toys.told_model()
        settings = Settings(threads=1, cache_dir="unused", **changes)
        self.server = Server({"told": model}, port=0, settings=settings)
        self.state = self.server._state

    def connect(self) -> socket.socket:
        host, port = self.server.url.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=LIMIT_S)


@contextmanager
def serving(**changes) -> Iterator[Told]:
    told = Told(**changes)
    told.server.start()
    try:
        yield told
    finally:
        told.backend.release()
        told.server.stop()


@pytest.fixture
def told() -> Iterator[Told]:
    with serving() as told:
        yield told


class Reader:
    """Reads answers off a socket one by one."""

    def __init__(self, sock: socket.socket) -> None:
        self._file = sock.makefile("rb")

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        status_line = self._file.readline()
        if not status_line:
            raise EOFError
        headers: dict[str, str] = {}
        while (line := self._file.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        body = self._file.read(int(headers["content-length"]))
        return int(status_line.split()[1]), headers, body

    def is_closed(self) -> bool:
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True


def exchange(told: Told, request: bytes) -> tuple[int, dict[str, str], bytes, bool]:
    """One request on a connection of its own; whether the server closed it afterwards."""
    with told.connect() as sock:
        sock.sendall(request)
        reader = Reader(sock)
        answer = reader.answer()
        closed = answer[1].get("connection") == "close" and reader.is_closed()
        return (*answer, closed)


def until(condition, limit_s: float = LIMIT_S) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.002)


def test_every_answer_has_date_and_server(told: Told) -> None:
    for path in ("/v2/health/live", "/nope"):
        _, headers, _, closed = exchange(told, get(path))
        assert headers["server"] == "pelton"
        assert headers["date"].endswith("GMT")
        assert not closed


def test_a_connection_is_kept(told: Told) -> None:
    with told.connect() as sock:
        reader = Reader(sock)
        for path in ("/v2/health/live", "/v2", "/nope", "/v2/models"):
            sock.sendall(get(path))
            assert reader.answer()[0] in (200, 404)
        sock.sendall(post())
        assert reader.answer()[0] == 200


def test_head_has_no_body(told: Told) -> None:
    with told.connect() as sock:
        sock.sendall(get("/v2").replace(b"GET", b"HEAD") + get("/v2/health/live"))
        file = sock.makefile("rb")
        assert b"200" in file.readline()
        while file.readline().strip():
            pass
        assert file.readline().startswith(b"HTTP/1.1 200"), "the next answer follows the head"


def test_pipelined_requests_are_answered_in_order(told: Told) -> None:
    with told.connect() as sock:
        paths = ["/v2/health/live", "/v2/models/told", "/nope", "/v2/health/ready"] * 5
        sock.sendall(b"".join(get(path, f"X-Request-Id: {n}") for n, path in enumerate(paths)))
        reader = Reader(sock)
        ids = [int(reader.answer()[1]["x-request-id"]) for _ in paths]
        assert ids == list(range(len(paths)))


def test_one_byte_at_a_time(told: Told) -> None:
    with told.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post():
            sock.sendall(bytes([byte]))
        assert Reader(sock).answer()[0] == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /v2\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_what_is_not_http_gets_our_400_and_is_closed(request_bytes: bytes, told: Told) -> None:
    status, headers, body, closed = exchange(told, request_bytes)
    assert (status, closed) == (400, True)
    assert headers["content-type"] == "application/json"
    assert json.loads(body)["code"] == "invalid_input"


@pytest.mark.parametrize("hosts", ["", "Host: a\r\nHost: b\r\n"])
def test_not_exactly_one_host_is_400(hosts: str, told: Told) -> None:
    status, _, body, _ = exchange(told, f"GET /v2 HTTP/1.1\r\n{hosts}\r\n".encode())
    assert (status, json.loads(body)["field"]) == (400, "Host")


def test_an_old_client_needs_no_host_and_is_closed(told: Told) -> None:
    status, _, _, closed = exchange(told, b"GET /v2 HTTP/1.0\r\n\r\n")
    assert (status, closed) == (200, True)


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (get("/" + "x" * 5000), 414, "uri_too_long"),
        (get("/v2", *(f"h{n}: v" for n in range(101))), 431, "headers_too_large"),
        (get("/v2", "long: " + "x" * 40_000), 431, "headers_too_large"),
        (b"GET /v2 HTTP/1.1\r\nHost: x\r\nlong: " + b"x" * 80_000, 431, "headers_too_large"),
    ],
)
def test_a_head_over_a_limit_is_refused(request_bytes, status, code, told: Told) -> None:
    found, _, body, closed = exchange(told, request_bytes)
    assert (found, closed) == (status, True)
    assert (json.loads(body)["status"], json.loads(body)["code"]) == (status, code)


def test_heads_within_the_limits_are_taken(told: Told) -> None:
    assert exchange(told, get("/v2?" + "x" * 4000))[0] == 200
    assert exchange(told, get("/v2", *(f"h{n}: v" for n in range(98))))[0] == 200
    assert exchange(told, get("/v2", "long: " + "x" * 30_000))[0] == 200


def test_a_body_over_the_limit_is_answered_before_it_is_sent() -> None:
    with serving(body_bytes_max=1000) as told, told.connect() as sock:
        sock.sendall(post(b"")[:-2].replace(b"Length: 0", b"Length: 100000000") + b"\r\n")
        reader = Reader(sock)
        status, headers, _ = reader.answer()
        assert (status, headers["connection"]) == (413, "close")
        assert told.backend.begun == 0


def test_expect_continue_is_decided_at_the_head() -> None:
    with serving(body_bytes_max=1000) as told:
        with told.connect() as sock:
            head, _, body = post(BODY, "Expect: 100-continue").partition(b"\r\n\r\n")
            sock.sendall(head + b"\r\n\r\n")
            file = sock.makefile("rb")
            assert file.readline() == b"HTTP/1.1 100 Continue\r\n"
            assert file.readline() == b"\r\n"
            sock.sendall(body)
            assert b" 200 " in file.readline()
        with told.connect() as sock:
            sock.sendall(
                b"POST /v2/models/told/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n"
                b"Expect: 100-continue\r\n\r\n"
            )
            assert b" 413 " in sock.makefile("rb").readline()


def test_a_head_that_does_not_come_is_408() -> None:
    with serving(head_s_max=0.05) as told:
        with told.connect() as sock:
            sock.sendall(b"GET /v2 HT")
            reader = Reader(sock)
            status, headers, body = reader.answer()
            assert (status, headers["connection"]) == (408, "close")
            assert json.loads(body)["code"] == "request_timeout"
            assert reader.is_closed()
        with told.connect() as sock:  # nothing at all: closed without a word
            assert Reader(sock).is_closed()


def test_an_idle_connection_is_closed_in_the_end() -> None:
    with serving(keep_alive_s=0.05) as told, told.connect() as sock:
        sock.sendall(get("/v2"))
        reader = Reader(sock)
        assert reader.answer()[0] == 200
        assert reader.is_closed()


def test_connections_over_the_limit_are_answered_and_closed() -> None:
    with serving(connections_max=2) as told:
        held = [told.connect() for _ in range(2)]
        for sock in held:
            sock.sendall(get("/v2/health/live"))
            assert Reader(sock).answer()[0] == 200
        with told.connect() as sock:
            reader = Reader(sock)
            status, headers, _ = reader.answer()
            assert (status, headers["connection"]) == (503, "close")
            assert "retry-after" in headers
            assert reader.is_closed()
        held.pop().close()
        until(lambda: told.state.connection_count == 1)
        assert exchange(told, get("/v2/health/live"))[0] == 200
        held.pop().close()


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_goes_away_cancels_its_request(reset: bool, told: Told) -> None:
    told.backend.hold()
    sock = told.connect()
    sock.sendall(post())
    until(lambda: told.backend.begun == 1)
    if reset:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    until(lambda: told.backend.cancelled == 1)
    until(lambda: told.state.in_flight == 0)


def test_requests_behind_a_client_that_went_away_are_dropped(told: Told) -> None:
    told.backend.hold()
    sock = told.connect()
    sock.sendall(post() * 3)
    until(lambda: told.backend.begun == 1)
    sock.close()
    until(lambda: told.state.connection_count == 0)
    until(lambda: told.state.in_flight == 0)
    assert told.backend.begun == 1


def test_many_clients_that_go_away_leave_nothing_behind(told: Told) -> None:
    told.backend.hold()
    socks = [told.connect() for _ in range(60)]
    for sock in socks:
        sock.sendall(post())
    until(lambda: told.backend.begun == 60)
    for sock in socks[::2]:
        sock.close()
    until(lambda: told.backend.cancelled == 30)
    told.backend.release()
    told.backend._gate = None
    for sock in socks[1::2]:
        assert Reader(sock).answer()[0] == 200
        sock.close()
    until(lambda: told.state.connection_count == 0)
    assert told.state.in_flight == 0


def test_what_comes_after_a_violation_is_not_read(told: Told) -> None:
    with told.connect() as sock:
        sock.sendall(b"BAD\r\n\r\n" + post())
        reader = Reader(sock)
        assert reader.answer()[0] == 400
        assert reader.is_closed()
    assert told.backend.begun == 0


def test_a_violation_behind_a_running_request_does_not_overtake_it(told: Told) -> None:
    told.backend.hold()
    with told.connect() as sock:
        sock.sendall(post())
        until(lambda: told.backend.begun == 1)
        sock.sendall(b"BAD\r\n\r\n")
        sock.sendall(b"")
        told.server._loop.call_soon_threadsafe(told.backend.release)
        reader = Reader(sock)
        assert reader.answer()[0] == 200


def test_a_slow_reader_gets_all_of_it(told: Told) -> None:
    with told.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        count = 200
        sock.settimeout(LIMIT_S)
        requests = get("/v2/models/told") * count
        import threading

        sender = threading.Thread(target=sock.sendall, args=(requests,))
        sender.start()
        reader = Reader(sock)
        assert all(reader.answer()[0] == 200 for _ in range(count))
        sender.join()


def test_a_client_that_does_not_read_its_answer_is_let_go(monkeypatch) -> None:
    monkeypatch.setattr(state, "WRITE_STALL_S_MAX", 0.2)
    count = 8 << 20  # an answer larger than the kernel buffers for a socket
    tensor = {"name": "x", "shape": [count, 1], "datatype": "FP32"}
    head = json.dumps(
        {
            "inputs": [{**tensor, "parameters": {"binary_data_size": 4 * count}}],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    body = head + bytes(4 * count)
    with serving() as told, told.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(post(body, f"Inference-Header-Content-Length: {len(head)}"))
        until(lambda: told.backend.begun == 1)
        until(lambda: told.state.connection_count == 0)
