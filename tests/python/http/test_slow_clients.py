"""Clients that are slow, silent, half gone or gone, and such as ask for more than they read, over
real sockets."""

from __future__ import annotations

import select
import socket
import time
from contextlib import suppress

import pytest

from pelton.http import state
from python.http.hostile import (
    LIMIT_S,
    NATIVE,
    PATHS,
    PYTHON,
    Reader,
    Running,
    ask,
    binary_infer,
    body_of,
    chunked,
    chunks,
    get,
    head,
    infer,
    reset,
    running,
    talk,
    until,
)


def test_others_are_served_beside_hundreds_of_slow_heads(tmp_path) -> None:
    with running(tmp_path, head_s_max=0.5) as server:
        slow = [server.connect() for _ in range(300)]
        for number, sock in enumerate(slow):
            sock.sendall(infer(NATIVE)[: number % 60])
        answered = 0
        while server.state.connection_count > 1:
            for path in PATHS:
                assert ask(server, infer(path)).status == 200
            answered += 1
            for number, sock in enumerate(slow):
                if number % 3 == 0:  # these send a byte of their heads now and then
                    with suppress(OSError):
                        sock.send(b"x")
        assert answered > 10
        for number, sock in enumerate(slow):
            answers = Reader(sock).rest()
            # One that sent nothing asked for nothing.
            assert {answer.status for answer in answers} <= {408, 400, 414}
            assert answers or number % 60 == 0 or number % 3 == 0
            sock.close()


def test_an_idle_connection_is_closed(path: str, tmp_path) -> None:
    with running(tmp_path, keep_alive_s=0.3) as server, server.connect() as sock:
        reader = Reader(sock)
        for _ in range(3):
            sock.sendall(infer(path))
            assert reader.answer().status == 200
            time.sleep(0.05)
        assert reader.rest() == []


def test_a_connection_too_many_is_told_so(path: str, tmp_path) -> None:
    with running(tmp_path, connections_max=4) as server:
        socks = [server.connect() for _ in range(4)]
        readers = [Reader(sock) for sock in socks]
        until(lambda: server.state.connection_count == 4)
        (answer,) = talk(server, infer(path))
        assert (answer.status, answer.closes) == (503, True)
        assert "retry-after" in answer.headers
        for sock, reader in zip(socks, readers, strict=True):
            sock.sendall(infer(path))
            assert reader.answer().status == 200
        socks[-1].shutdown(socket.SHUT_RDWR)
        until(lambda: server.state.connection_count == 3)
        assert ask(server, infer(path)).status == 200
        for sock in socks:
            sock.close()


def test_a_head_that_comes_byte_by_byte_has_no_more_time(tmp_path) -> None:
    with running(tmp_path, head_s_max=0.3) as server, server.connect() as sock:
        reader = Reader(sock)
        for _ in range(2):  # also the second head of a connection
            sock.sendall(infer(NATIVE))
            assert reader.answer().status == 200
        started = time.monotonic()
        for byte in head(NATIVE, "A: " + "x" * 30_000):
            sock.sendall(bytes([byte]))
            if select.select([sock], [], [], 0.01)[0]:
                break
        answer = reader.answer()
        assert (answer.status, answer.closes) == (408, True)
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("sent", [0, 10], ids=("silent", "slow"))
@pytest.mark.parametrize("framing", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_a_body_that_does_not_come_is_408(
    framing: str, sent: int, path: str, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(state, "BODY_GRACE_S", 0.1)
    with running(tmp_path) as server, server.connect() as sock:
        sock.sendall(head(path, framing))
        sock.sendall((b"3e8\r\n" if "chunked" in framing else b"") + b" " * sent)
        (answer,) = Reader(sock).rest()
        assert (answer.status, answer.closes) == (408, True)
        assert answer.json()["code"] == "request_timeout"
        sock.shutdown(socket.SHUT_RDWR)
        until(server.is_idle)


def test_a_body_nobody_reads_does_not_hold_the_connection(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(state, "BODY_GRACE_S", 0.1)
    with running(tmp_path) as server:
        (answer,) = talk(server, head("/nope", "Content-Length: 5000") + b"abc")
        assert answer.status == 404
        until(lambda: server.state.connection_count == 0)


def test_one_byte_at_a_time(path: str, server: Running) -> None:
    request = (
        infer(path)
        + get("/v2/health/live")
        + chunked(path, chunks(body_of(path), 40), b"0\r\n\r\n")
    )
    with server.connect() as sock:
        for byte in request:
            sock.send(bytes([byte]))
        reader = Reader(sock)
        assert [reader.answer().status for _ in range(3)] == [200, 200, 200]


def test_a_half_closed_client_gets_its_answers(path: str, server: Running) -> None:
    answers = talk(server, infer(path) * 5 + get("/v2/health/live") + infer(path), shut=True)
    assert [answer.status for answer in answers] == [200] * 7


def test_a_client_that_stops_within_a_message_gets_no_answer_to_it(
    path: str, server: Running
) -> None:
    rows = server.rows_run()
    for at in (10, 60, len(infer(path)) - 1):
        assert talk(server, infer(path)[:at], shut=True) == []
    assert server.rows_run() == rows


@pytest.mark.parametrize("how", ["close", "reset"])
def test_clients_that_go_away_are_counted_and_forgotten(how: str, server: Running) -> None:
    gone = server.count("clients_gone")
    server.backend.hold()
    socks = [server.connect() for _ in range(20)]
    for sock in socks:
        sock.sendall(infer(PYTHON) + infer(NATIVE) * 3)
    until(lambda: server.state.asgi_accepted - server.state.asgi_answered == 20)
    for sock in socks:
        reset(sock) if how == "reset" else sock.close()
    until(lambda: server.state.connection_count == 0)
    until(server.is_idle)
    server.backend.release()
    server.backend._gate = None
    # In the middle of a body that is the native path's.
    for sock in (socks := [server.connect() for _ in range(20)]):
        sock.sendall(infer(NATIVE)[:-5])
    until(lambda: server.count("body_bytes") > 0)
    for sock in socks:
        reset(sock) if how == "reset" else sock.close()
    until(lambda: server.state.connection_count == 0)
    assert server.count("clients_gone") == gone + 20
    assert server.count("body_bytes") == 0


@pytest.mark.parametrize("depth", [1, 2, 63, 64, 65, 300])
def test_pipelined_requests_are_answered_in_order(depth: int, server: Running) -> None:
    kinds = [
        lambda n: infer(NATIVE, n, f"X-Request-Id: {n}"),
        lambda n: infer(NATIVE, n, f"X-Request-Id: {n}"),
        lambda n: get("/v2/health/live", f"X-Request-Id: {n}"),
        lambda n: infer(PYTHON, n, f"X-Request-Id: {n}"),
        lambda n: infer("/v2/models/none/infer", n, f"X-Request-Id: {n}"),
    ]
    with server.connect() as sock:
        sock.sendall(b"".join(kinds[n * n % len(kinds)](n) for n in range(depth)))
        reader = Reader(sock)
        for n in range(depth):
            answer = reader.answer()
            assert answer.headers["x-request-id"] == str(n)
            if n * n % len(kinds) in (0, 1):
                assert answer.json()["outputs"][0]["data"] == [n + 1.0] * 4


def test_a_client_far_ahead_is_not_read_from(server: Running) -> None:
    """Behind a request that takes long, 64 more are run at most; the rest waits in the socket."""
    server.backend.hold()
    rows = server.rows_run()
    with server.connect() as sock:
        sock.sendall(infer(PYTHON))
        until(lambda: server.rows_run() == rows + 1)
        request = infer(NATIVE, 1.0, "A: " + "x" * 4096)
        many = request * 100
        sock.settimeout(0.3)
        sent = 0
        with suppress(TimeoutError):
            while sent < 64 << 20:
                sent += sock.send(many[sent % len(many) :])
        assert sent < 64 << 20, "it reads without end"
        sock.settimeout(LIMIT_S)
        assert server.state.in_flight <= 65
        assert server.rows_run() <= rows + 65
        server.backend.release()
        server.backend._gate = None
        reader = Reader(sock)
        for _ in range(1 + sent // len(request)):
            assert reader.answer().status == 200


def test_a_slow_reader_gets_all_of_it_however_slow(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(state, "WRITE_STALL_S_MAX", 0.5)
    request = binary_infer(NATIVE, 1 << 20)  # 16 MiB back
    with running(tmp_path) as server, server.connect() as sock:
        sock.sendall(request)
        started = time.monotonic()
        answer = Reader(sock, pause_s=0.004).answer()
        assert time.monotonic() - started > 1, "it took it all at once"
        assert (answer.status, len(answer.body) > 16 << 20) == (200, True)


def test_a_client_that_never_reads_is_let_go_and_others_are_served(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(state, "WRITE_STALL_S_MAX", 0.3)
    request = binary_infer(NATIVE, 1 << 16)  # 1 MiB back
    with running(tmp_path) as server:
        with server.connect() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(0.2)
            peak = 0
            for _ in range(100):
                try:
                    sock.sendall(request)
                except OSError:
                    break  # it is not read from any more
                peak = max(peak, server.count("body_bytes"))
                assert ask(server, infer(NATIVE)).status == 200
            else:
                pytest.fail("100 MiB were read from a client that reads nothing")
            assert peak < 16 << 20
            until(lambda: server.state.connection_count == 0)
        until(server.is_idle)


def test_a_client_that_never_reads_small_answers_is_let_go(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(state, "WRITE_STALL_S_MAX", 0.3)
    with running(tmp_path) as server, server.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(0.2)
        sent, many = 0, infer(NATIVE) * 100
        try:
            while sent < 100 << 20:
                sock.sendall(many)
                sent += len(many)
        except OSError:
            pass
        assert sent < 100 << 20
        until(lambda: server.state.connection_count == 0)
        until(server.is_idle)
