"""`pelton.Server` in a program: start, stop, drain, and the engine it shares."""

from __future__ import annotations

import concurrent.futures
import socket
import threading
import time

import httpx
import numpy as np
import pytest

import pelton
from pelton.app import bind
from pelton.settings import Settings
from python import toys
from python.http.test_protocol import BODY, Reader, get, post, serving, until


@pytest.fixture(scope="module")
def plus_one(tmp_path_factory):
    folder = tmp_path_factory.mktemp("app")
    settings = Settings(threads=2, cache_dir=str(folder))
    with pelton.load(toys.plus_one(folder), settings=settings) as model:
        yield model


def infer(url: str, name: str = "m") -> list[float]:
    row = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    reply = httpx.post(f"{url}/v2/models/{name}/infer", json={"inputs": [row]}, timeout=30)
    assert reply.status_code == 200, reply.text
    return reply.json()["outputs"][0]["data"]


def test_a_server_serves_a_model_of_the_program(plus_one) -> None:
    server = pelton.Server({"m": plus_one}, port=0)
    with pytest.raises(pelton.Unavailable, match="has not been started"):
        _ = server.url
    server.start()
    try:
        assert server.url.startswith("http://127.0.0.1:")
        before = plus_one.stats()["rows"]
        assert infer(server.url) == [2, 3, 4, 5]
        # The model's own calls and the server's go through one engine and its counts.
        assert (plus_one({"x": np.ones((1, 4), np.float32)})["y"] == 2).all()
        assert plus_one.stats()["rows"] == before + 2
    finally:
        server.stop()
        server.stop()
    assert plus_one.ready
    with pytest.raises(httpx.TransportError):
        httpx.get(server.url, timeout=5)
    with pytest.raises(pelton.Unavailable, match="started once"):
        server.start()


def test_servers_side_by_side(plus_one) -> None:
    with (
        pelton.Server({"a": plus_one}, port=0) as first,
        pelton.Server({"b": plus_one}, port=0) as second,
    ):
        assert infer(first.url, "a") == infer(second.url, "b") == [2, 3, 4, 5]


def test_programs_and_servers_run_at_once(plus_one) -> None:
    x = {"x": np.ones((3, 4), np.float32)}
    with (
        pelton.Server({"m": plus_one}, port=0) as server,
        concurrent.futures.ThreadPoolExecutor(8) as pool,
    ):
        http = [pool.submit(infer, server.url) for _ in range(40)]
        direct = [pool.submit(plus_one, x) for _ in range(40)]
        assert all(future.result(60) == [2, 3, 4, 5] for future in http)
        assert all((future.result(60)["y"] == 2).all() for future in direct)


def test_a_taken_port_is_named(plus_one) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(pelton.InvalidSettings, match=f"cannot listen on 127.0.0.1:{port}"):
            pelton.Server({"m": plus_one}, port=port).start()


def test_an_address_that_is_none_is_named() -> None:
    with pytest.raises(pelton.InvalidSettings, match=r"cannot listen on 256\.0\.0\.1"):
        bind("256.0.0.1", 0)


def test_ipv6_has_brackets_in_its_url(plus_one) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        bind("::1", 0).close()
    except pelton.InvalidSettings:
        pytest.skip("no IPv6 loopback here")
    with pelton.Server({"m": plus_one}, host="::1", port=0) as server:
        assert server.url.startswith("http://[::1]:")
        assert infer(server.url) == [2, 3, 4, 5]


def test_stopping_answers_what_was_accepted() -> None:
    with serving() as told:
        told.backend.hold()
        socks = [told.connect() for _ in range(8)]
        for sock in socks:
            sock.sendall(post())
        until(lambda: told.backend.begun == 8)
        stopping = threading.Thread(target=told.server.stop)
        stopping.start()
        until(lambda: told.state.draining)
        assert stopping.is_alive()
        told.server._loop.call_soon_threadsafe(told.backend.release)
        for sock in socks:
            status, headers, _ = Reader(sock).answer()
            assert (status, headers["connection"]) == (200, "close")
            sock.close()
        stopping.join(30)
        assert not stopping.is_alive()
        assert told.state.in_flight == 0


def test_pipelined_requests_that_were_read_are_answered_too() -> None:
    with serving() as told:
        told.backend.hold()
        with told.connect() as sock:
            sock.sendall(post() * 5)
            until(lambda: told.backend.begun == 1)
            stopping = threading.Thread(target=told.server.stop)
            stopping.start()
            until(lambda: told.state.draining)
            told.server._loop.call_soon_threadsafe(told.backend.release)
            reader = Reader(sock)
            answers = [reader.answer() for _ in range(5)]
            assert [status for status, _, _ in answers] == [200] * 5
            assert answers[-1][1]["connection"] == "close"
            assert reader.is_closed()
        stopping.join(30)


def test_idle_connections_do_not_hold_up_a_stop() -> None:
    with serving() as told, told.connect() as sock, told.connect():
        sock.sendall(get("/v2"))
        reader = Reader(sock)
        reader.answer()
        started = time.monotonic()
        told.server.stop()
        assert time.monotonic() - started < 5
        assert reader.is_closed()


def test_a_request_that_arrives_while_draining_is_answered() -> None:
    with serving() as told:
        told.backend.hold()
        with told.connect() as busy, told.connect() as late:
            busy.sendall(post())
            until(lambda: told.backend.begun == 1)
            # Half of a head: the connection is kept for the rest of it.
            late.sendall(post()[:30])
            connections = told.server._serving.server_state.connections
            until(lambda: sum(not c.native.is_idle for c in list(connections)) == 2)
            stopping = threading.Thread(target=told.server.stop)
            stopping.start()
            until(lambda: told.state.draining)
            late.sendall(post()[30:])
            until(lambda: told.backend.begun == 2)
            told.server._loop.call_soon_threadsafe(told.backend.release)
            assert Reader(late).answer()[0] == 200
            assert Reader(busy).answer()[0] == 200
        stopping.join(30)


def test_the_drain_ends_at_its_limit() -> None:
    with serving(drain_s_max=0.2) as told:
        told.backend.hold()
        with told.connect() as sock:
            sock.sendall(post())
            until(lambda: told.backend.begun == 1)
            started = time.monotonic()
            told.server.stop()
            assert 0.2 <= time.monotonic() - started < 10
            assert Reader(sock).is_closed()
    assert told.backend.cancelled == 1


def test_during_the_lag_requests_are_taken_and_ready_is_off() -> None:
    with serving(drain_lag_s=30) as told:
        stopping = threading.Thread(target=told.server.stop)
        stopping.start()
        until(lambda: told.state.draining)
        with told.connect() as sock:
            sock.sendall(get("/v2/health/ready"))
            assert Reader(sock).answer()[0] == 503
        with told.connect() as sock:
            sock.sendall(post(BODY))
            status, headers, _ = Reader(sock).answer()
            assert (status, headers["connection"]) == (200, "close")
        # A second request to stop ends the lag.
        told.server._loop.call_soon_threadsafe(told.server._serving.request_stop)
        stopping.join(30)
        assert not stopping.is_alive()
