"""The load generator counts every request once, and charges a stall to the server."""

from __future__ import annotations

import json
import math
import random
import subprocess
import threading
from pathlib import Path

import pytest
from bench.server.load import IdleConnections, Latencies, LoadPlan, LoadResult, run_load

from bench_support.toy_server import ToyServer, answer, post

PORT = ("--port", "1", "--requests", "x")


def ok(number: int, body: bytes) -> bytes:
    return answer()


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    path = tmp_path / "requests"
    path.write_bytes(post(b"first") + post(b"") + post(b"third" * 1000))
    return path


def load(program: Path, server: ToyServer, requests: Path, **options: object) -> LoadResult:
    given: dict[str, object] = {"connections": 4, "seconds": 0.2, **options}
    return run_load(program, LoadPlan(port=server.port, requests=requests, **given))  # type: ignore[arg-type]


def every_request_is_in_one_count(result: LoadResult) -> bool:
    names = ("answered", "cancelled", "lost", "unanswered", "malformed")
    return result.counts["started"] == sum(result.counts[name] for name in names)


def test_percentiles_are_those_of_the_sorted_values(loadgen: Path, seed: int) -> None:
    generator = random.Random(seed)
    values = [int(10 ** generator.uniform(0, 11)) for _ in range(20_000)]
    values += [0, 1, 2047, 2048, 2049, 1 << 40]
    done = subprocess.run(
        [loadgen, "summarize"],
        input="\n".join(map(str, values)),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = json.loads(done.stdout)
    values.sort()
    latencies = Latencies.of(found["histogram"])
    assert found["count"] == latencies.count == len(values)
    assert found["max_us"] == pytest.approx(values[-1] / 1e3)
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999)):
        exact = values[math.ceil(share * len(values)) - 1] / 1e3
        assert found[f"{name}_us"] == pytest.approx(exact, rel=1e-3)
        assert latencies.percentile_us(share) == pytest.approx(exact, rel=1e-3)


def test_small_values_are_exact_and_histograms_add_up() -> None:
    parts = [Latencies.of([[5, 1], [2047, 2]]), Latencies.of([[5, 3]])]
    merged = Latencies.merged(parts)
    assert merged.counts == {5: 4, 2047: 2}
    assert merged.percentile_us(0.5) == 0.005
    assert merged.percentile_us(1.0) == 2.047
    assert math.isnan(Latencies.of([]).percentile_us(0.5))


def test_closed_loop_sends_the_requests_in_turns(loadgen: Path, requests: Path) -> None:
    with ToyServer(ok) as server:
        result = load(loadgen, server, requests)
        bodies = list(server.bodies)
    assert result.failed == 0
    assert result.ok == len(bodies) == result.latencies.count
    assert result.statuses == {"200": result.ok}
    assert result.rate == pytest.approx(result.ok / result.seconds, rel=1e-3)
    for body in (b"first", b"", b"third" * 1000):
        assert abs(bodies.count(body) - len(bodies) / 3) <= 4
    assert 0 < result.client_cpu_seconds < result.seconds


def test_open_loop_keeps_its_schedule(loadgen: Path, requests: Path) -> None:
    with ToyServer(ok) as server:
        result = load(loadgen, server, requests, rate=500, seconds=0.5, connections=16)
    assert result.ok == 250
    assert result.failed == 0


def test_a_stall_is_charged_to_every_request_that_was_due(loadgen: Path, requests: Path) -> None:
    """One connection and a server that stands still for half of the time: a client that waits to
    send would see one slow request of many; half of those that were due waited."""
    with ToyServer(ok) as server:
        threading.Timer(0.1, server.stall, (0.4,)).start()
        result = load(loadgen, server, requests, rate=500, seconds=0.8, connections=1)
    assert result.ok == 400
    assert result.max_us > 300_000
    assert result.percentile_us(0.9) > 200_000
    assert result.percentile_us(0.65) > 20_000


def test_what_was_never_sent_counts_as_waiting(loadgen: Path, requests: Path) -> None:
    with ToyServer(lambda number, body: answer() if number < 10 else b"") as server:
        result = load(
            loadgen, server, requests, rate=200, seconds=0.5, connections=2, drain_seconds=0.1
        )
    assert result.ok == 10
    assert result.counts["unanswered"] == 2
    assert result.counts["unsent"] == 88
    assert result.failed == 90
    assert result.latencies.count == 100
    assert result.percentile_us(0.5) > 100_000


def test_windows_hold_all_that_was_counted(loadgen: Path, requests: Path) -> None:
    with ToyServer(ok) as server:
        result = load(loadgen, server, requests, rate=400, seconds=0.5, window_ms=100)
    assert len(result.windows) == 5
    begins = [window.begin_ns for window in result.windows]
    assert begins == [begins[0] + 100_000_000 * i for i in range(5)]
    assert [window.latencies.count for window in result.windows] == [40] * 5
    merged = Latencies.merged(window.latencies for window in result.windows)
    assert merged.counts == result.latencies.counts


def test_answers_that_are_not_200_are_failures(loadgen: Path, requests: Path) -> None:
    with ToyServer(lambda number, body: answer(status=503 if number % 2 else 200)) as server:
        result = load(loadgen, server, requests)
    assert set(result.statuses) == {"200", "503"}
    assert result.failed == result.statuses["503"]
    assert result.first_error == "status 503"
    with pytest.raises(SystemExit, match="status 503"):
        result.check("toy")


def test_who_is_turned_away_in_the_open_loop_counts_as_waiting(
    loadgen: Path, requests: Path
) -> None:
    with ToyServer(lambda number, body: answer(status=503 if number % 2 else 200)) as server:
        result = load(loadgen, server, requests, rate=200, seconds=0.5)
    assert result.failed == result.statuses["503"] == 50
    assert result.latencies.count == 100
    assert result.percentile_us(0.75) > 100_000


@pytest.mark.parametrize(
    ("bad", "count"),
    [
        (None, "lost"),
        (b"HTTP/1.1 200 X\r\n\r\n", "malformed"),
        (b"SMTP ready\r\n\r\n", "malformed"),
        (answer() + answer(), "unsolicited"),
        (b"HTTP/1.1 200 X\r\ncontent-length: 1x\r\n\r\n", "malformed"),
    ],
)
def test_what_servers_do_wrong_is_counted(
    loadgen: Path, requests: Path, bad: bytes | None, count: str
) -> None:
    with ToyServer(lambda number, body: bad if number == 7 else answer()) as server:
        result = load(loadgen, server, requests)
    assert result.counts[count] == 1
    assert result.ok > 10
    assert every_request_is_in_one_count(result)


def test_interim_answers_and_pieces_are_read(loadgen: Path, requests: Path) -> None:
    whole = b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"x" * 300_000)
    with ToyServer(lambda number, body: whole) as server:
        result = load(loadgen, server, requests)
    assert result.failed == 0
    assert result.ok > 5


def test_connections_are_made_anew(loadgen: Path, requests: Path) -> None:
    with ToyServer(ok) as server:
        result = load(loadgen, server, requests, reconnect_every=10)
    assert result.failed == 0
    assert result.counts["connects"] >= result.ok / 10
    closing = answer(extra=b"Connection: close\r\n")
    with ToyServer(lambda number, body: closing) as server:
        result = load(loadgen, server, requests, seconds=0.1)
    assert result.failed == 0
    assert result.counts["connects"] >= result.ok


def test_clients_that_leave_are_no_failures(loadgen: Path, requests: Path) -> None:
    with ToyServer(ok) as server:
        result = load(loadgen, server, requests, rate=1000, seconds=0.4, cancel_every=4)
    assert 50 < result.counts["cancelled"] <= 100
    assert result.failed == 0
    assert every_request_is_in_one_count(result)


def test_idle_connections_are_open_while_the_block_runs(loadgen: Path, requests: Path) -> None:
    with ToyServer(ok) as server:
        with IdleConnections(loadgen, server.port, 50, requests) as idle:
            assert server.connections == 50
            assert server.bodies == [b"first"] * 50
        assert idle.closed_by_server == 0


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ([], "usage"),
        (["coffee"], "usage"),
        (["closed", "--port", "0"], "--port"),
        (["closed", "--port", "1"], "usage"),
        (["open", *PORT], "usage"),
        (["closed", *PORT, "--rate", "5"], "usage"),
        (["closed", "--seconds", "nan"], "--seconds"),
        (["open", *PORT, "--rate", "1", "--window-ms"], "--window-ms"),
        (["closed", *PORT, "--seconds", "80000", "--window-ms", "1"], "4096 windows"),
    ],
)
def test_wrong_usage(loadgen: Path, words: list[str], shown: str) -> None:
    done = subprocess.run(
        [loadgen, *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert shown in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no request"),
        (post() + b"POST / HTTP/1.1\r\n", "ends within its request number 2"),
        (post(b"abc")[:-1], "ends within its request number 1"),
    ],
)
def test_bad_request_files(loadgen: Path, tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(SystemExit, match=message):
        run_load(loadgen, LoadPlan(port=1, requests=path, connections=1, seconds=0.1))


def test_more_connections_than_open_files_allow(loadgen: Path, requests: Path) -> None:
    words = f"ulimit -n 60; exec {loadgen} closed --port 1 --connections 100 --requests {requests}"
    done = subprocess.run(
        ["sh", "-c", words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert (
        "100 connections need 132 open files, but the hard limit (ulimit -Hn) is 60" in done.stderr
    )


def test_no_server(loadgen: Path, requests: Path) -> None:
    plan = LoadPlan(port=1, requests=requests, connections=1, seconds=0.1)
    with pytest.raises(SystemExit, match="cannot connect"):
        run_load(loadgen, plan)
