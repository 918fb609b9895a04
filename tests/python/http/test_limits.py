"""Limits, deadlines, disconnects and drain, without a socket."""

from __future__ import annotations

import asyncio
import json
import time
import tracemalloc

import pytest

from pelton.bridge import NO_DEADLINE
from pelton.errors import InvalidSettings, ModelNotFound
from pelton.http import Application, ServerState, _exchange
from pelton.settings import Settings
from python import toys
from python.http.asgi import Asgi

INFER = "/v2/models/told/infer"
ROW = {"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1]}
BODY = json.dumps({"inputs": [ROW]}).encode()


def test_a_body_over_the_limit_is_refused_at_its_head(client: Asgi, state) -> None:
    limit = state.settings.body_bytes_max
    received = []
    reply = client.ask(
        "POST",
        INFER,
        b"",
        {"Content-Length": str(limit + 1)},
        on_receive=lambda: received.append(1),
    )
    assert (reply.status, reply.json()["code"]) == (413, "payload_too_large")
    assert reply.headers["connection"] == "close"
    assert reply.json()["got"] == f"{limit + 1} bytes"


def test_a_streamed_body_is_refused_when_it_passes_the_limit(client: Asgi, state) -> None:
    pieces = [b"x" * 65536] * (state.settings.body_bytes_max // 65536 + 40)
    reads = []
    reply = client.ask("POST", INFER, pieces, on_receive=lambda: reads.append(1))
    assert (reply.status, reply.headers["connection"]) == (413, "close")
    assert len(reads) < len(pieces), "it went on reading"


@pytest.mark.parametrize("extra", [0, 1])
def test_the_limit_is_exact(extra: int, client: Asgi, state) -> None:
    body = BODY + b" " * (state.settings.body_bytes_max - len(BODY) + extra)
    assert client.ask("POST", INFER, body).status == (413 if extra else 200)


def test_a_body_in_many_pieces_is_put_together(client: Asgi) -> None:
    assert client.ask("POST", INFER, [bytes([byte]) for byte in BODY]).status == 200


def test_a_body_in_pieces_is_held_once(state) -> None:
    piece, count = b"x" * 65536, state.settings.body_bytes_max // 65536
    scope = {"headers": [(b"transfer-encoding", b"chunked")], "path": INFER}
    pieces = iter(range(count))

    async def receive():
        index = next(pieces)
        return {"type": "http.request", "body": piece, "more_body": index + 1 < count}

    exchange = _exchange.Exchange(scope, receive, state)
    tracemalloc.start()
    try:
        body = asyncio.run(exchange.body())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(body) == state.settings.body_bytes_max
    assert peak < 1.25 * len(body)


def test_a_body_that_does_not_come_is_408(client: Asgi, monkeypatch) -> None:
    monkeypatch.setattr(_exchange, "_BODY_GRACE_S", 0.05)
    reply = client.ask("POST", INFER, [b"{"], stall=True)
    assert (reply.status, reply.json()["code"]) == (408, "request_timeout")
    assert reply.headers["connection"] == "close"


def test_a_client_gone_in_its_body_gets_nothing(client: Asgi, told, state) -> None:
    reply = client.ask("POST", INFER, [BODY[:5]], disconnect=True)
    assert reply.status == 0
    assert told[0].begun == 0
    assert state.in_flight == 0


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "x", "", "86400001", "9" * 12, "１"])
def test_a_bad_deadline_is_400(value: str, client: Asgi) -> None:
    encoded = value.encode("utf-8").decode("latin-1")
    reply = client.ask("POST", INFER, BODY, {"Pelton-Deadline-Ms": encoded})
    assert (reply.status, reply.json()["field"]) == (400, "Pelton-Deadline-Ms")


def deadline_ms(client: Asgi, told, timeout_us: int | None, header: str | None) -> float:
    """The deadline that the model was given, from now."""
    members = {} if timeout_us is None else {"parameters": {"timeout": timeout_us}}
    headers = {} if header is None else {"Pelton-Deadline-Ms": header}
    body = json.dumps({"inputs": [ROW], **members}).encode()
    assert client.ask("POST", INFER, body, headers).status == 200
    found = told[0].options[-1].deadline_ns
    return float("inf") if found == NO_DEADLINE else (found - time.monotonic_ns()) / 1e6


@pytest.mark.parametrize(
    ("timeout_us", "header", "expected_ms"),
    [
        (None, None, float("inf")),
        (0, None, float("inf")),
        (60_000_000, None, 60_000),
        (None, "60000", 60_000),
        (30_000_000, "60000", 30_000),
        (90_000_000, "60000", 60_000),
        (2**62, None, float("inf")),
    ],
)
def test_the_smallest_deadline_wins(timeout_us, header, expected_ms, client, told) -> None:
    found = deadline_ms(client, told, timeout_us, header)
    if expected_ms == float("inf"):
        assert found > 1e9
    else:
        assert expected_ms - 10_000 < found <= expected_ms


def test_the_servers_default_deadline_is_for_those_without_one(told) -> None:
    settings = Settings(threads=1, cache_dir="unused", deadline_ms_default=5000)
    state = ServerState({"told": told[1]}, settings)
    client = Asgi(Application(state))
    try:
        assert deadline_ms(client, told, None, None) <= 5000
        assert deadline_ms(client, told, 60_000_000, None) > 5000
    finally:
        client.close()
        state.close()


def test_a_deadline_that_passes_is_504_and_the_work_is_dropped(client: Asgi, told) -> None:
    async def ask():
        told[0].hold()
        return await client.send("POST", INFER, BODY, {"Pelton-Deadline-Ms": "20"})

    reply = client.run(ask())
    assert (reply.status, reply.json()["code"]) == (504, "deadline_exceeded")
    assert told[1].metrics.outcomes["deadline_exceeded"] == 1


@pytest.mark.parametrize(("given", "level"), [(None, 2), (0, 2), (1, 1), (3, 3), (4, 4), (99, 4)])
def test_priorities(given, level: int, client: Asgi, told) -> None:
    members = {} if given is None else {"parameters": {"priority": given}}
    assert client.post(INFER, {"inputs": [ROW], **members}).status == 200
    assert told[0].options[-1].priority == level


def test_many_at_once_are_all_answered(client: Asgi, told, state) -> None:
    async def many():
        told[0].hold()
        calls = [asyncio.ensure_future(client.send("POST", INFER, BODY)) for _ in range(50)]
        while told[0].begun < 50:
            await asyncio.sleep(0)
        assert state.in_flight == 50
        told[0].release()
        return await asyncio.gather(*calls)

    assert [reply.status for reply in client.run(many())] == [200] * 50
    assert (state.in_flight, state.accepted) == (0, 50)


def test_draining_turns_ready_off_and_still_answers(client: Asgi, state) -> None:
    state.draining = True
    for path in ("/v2/health/ready", "/v2/models/told/ready"):
        reply = client.ask("GET", path)
        assert (reply.status, reply.json()["ready"]) == (503, False)
    assert client.ask("GET", "/v2/health/live").status == 200
    reply = client.ask("POST", INFER, BODY)
    assert (reply.status, reply.headers["connection"]) == (200, "close")


def test_a_closed_model_is_not_ready(state, client: Asgi) -> None:
    state.models["told"].close()
    assert client.ask("GET", "/v2/models/told/ready").status == 503
    assert client.ask("GET", "/v2/health/ready").status == 503
    reply = client.ask("POST", INFER, BODY)
    assert (reply.status, reply.json()["code"]) == (503, "unavailable")
    assert "retry-after" in reply.headers
    assert client.ask("GET", "/metrics").status == 200


def test_large_bodies_are_read_and_written_off_the_loop(client: Asgi, monkeypatch) -> None:
    import threading

    seen = []
    original = _exchange.Exchange.off_loop

    async def spy(self, byte_count, function, *arguments):
        def work(*given):
            seen.append((byte_count, threading.current_thread().name))
            return function(*given)

        return await original(self, byte_count, work, *arguments)

    monkeypatch.setattr(_exchange.Exchange, "off_loop", spy)
    values = [0.5] * (4 * 20_000)
    row = {"name": "x", "shape": [20_000, 4], "datatype": "FP32", "data": values}
    body = json.dumps({"inputs": [row]}).encode()
    reply = client.ask("POST", "/v2/models/plus_one/infer", body)
    assert reply.status == 200
    assert set(reply.json()["outputs"][0]["data"]) == {1.5}
    small, large = [], []
    for count, name in seen:
        (large if count > 256 << 10 else small).append(name)
    assert len(large) == 2
    assert all(name.startswith("pelton-codec") for name in large)
    assert not any(name.startswith("pelton-codec") for name in small)


@pytest.mark.parametrize("name", ["", ".", "..", "stats", "a/b", "a\\b", "a@b", "a\0", "x" * 256])
def test_names_that_fit_no_path_are_refused(name: str, settings) -> None:
    with pytest.raises(InvalidSettings):
        ServerState({name: toys.told_model()[1]}, settings)


def test_names_of_other_scripts_are_fine(settings, told) -> None:
    state = ServerState({"modèle": told[1]}, settings)
    assert state.model("modèle") is told[1]
    with pytest.raises(ModelNotFound):
        state.model("x" * 500)
    state.close()


def test_the_lag_of_the_loop_is_measured(state, monkeypatch) -> None:
    from pelton.http import state as module

    monkeypatch.setattr(module, "LAG_PERIOD_S", 0.01)

    async def main() -> None:
        state.watch_loop()
        await asyncio.sleep(0)
        time.sleep(0.05)  # the event loop is held up
        while state.loop_lag.snapshot().observed < 2:
            await asyncio.sleep(0.005)

    asyncio.run(asyncio.wait_for(main(), 30))
    assert state.loop_lag.snapshot().total > 0.02
