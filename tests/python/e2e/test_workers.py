"""A server of several processes: one port, one set of counts, one state."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import shared_memory
from pathlib import Path

import httpx
import numpy as np
import pytest

from pelton.compiler import ROWS, GraphBuilder
from python import toys
from python.e2e.served import Served, until
from python.http.test_protocol import Reader

pytestmark = pytest.mark.e2e

BODY = b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}'
REQUEST = (
    b"POST /v2/models/m/infer HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
) + BODY
METRICS = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
READY = b"GET /v2/health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n"
OK = 'pelton_requests_total{model="m",outcome="ok",version="1"}'
TWO = ("--workers", "2", "--threads", "2")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"m={toys.plus_one(tmp_path_factory.mktemp('workers'))}"


@pytest.fixture(scope="module")
def pair(plan: str) -> Iterator[Served]:
    with Served(plan, *TWO, "--shared-memory", "on") as served:
        yield served


class Connection:
    """One connection, so one worker."""

    def __init__(self, served: Served) -> None:
        self.sock = socket.create_connection(("127.0.0.1", served.port), timeout=60)
        self.reader = Reader(self.sock)

    def ask(self, request: bytes) -> tuple[int, str]:
        self.sock.sendall(request)
        status, _, body = self.reader.answer()
        return status, body.decode()

    def close(self) -> None:
        self.sock.close()


@contextmanager
def opened(served: Served, count: int) -> Iterator[list[Connection]]:
    made = [Connection(served) for _ in range(count)]
    yield made
    for connection in made:
        connection.close()


@pytest.fixture
def connections(pair: Served) -> Iterator[list[Connection]]:
    """Eight connections, of which each worker has four."""
    until(lambda: pair.metric("pelton_connections") == 1)
    with opened(pair, 8) as made:
        yield made


def value(text: str, line: str) -> float:
    (found,) = (found for found in text.splitlines() if found.startswith(line + " "))
    return float(found.split()[-1])


def pids(served: Served) -> dict[int, int]:
    """The newest process of each worker."""
    return {int(str(r["worker"])): int(str(r["pid"])) for r in served.log if "pid" in r}


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_whichever_worker_is_asked_counts_those_of_all(
    pair: Served, connections: list[Connection]
) -> None:
    before = value(connections[0].ask(METRICS)[1], OK)
    for number, connection in enumerate(connections):
        for _ in range(number + 1):
            status, body = connection.ask(REQUEST)
            assert (status, '"data":[2' in body) == (200, True)
    sent = sum(range(1, len(connections) + 1))
    for connection in connections:
        text = connection.ask(METRICS)[1]
        assert value(text, OK) - before == sent
        assert value(text, "pelton_connections") == len(connections)
        assert value(text, "pelton_workers") == 2
        assert value(text, 'pelton_request_seconds_count{model="m",phase="queue",version="1"}') >= (
            sent
        )
    for connection in connections:
        stats = b"GET /v2/models/m/stats HTTP/1.1\r\nHost: localhost\r\n\r\n"
        assert f'"inference_count":{before + sent:.0f},' in connection.ask(stats)[1]
        assert connection.ask(READY) == (200, '{"ready":true}')


def post(path: str, document: bytes = b"{}") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(document)}\r\n\r\n"
    return head.encode() + document


def test_a_region_is_registered_in_all_or_in_none(
    pair: Served, connections: list[Connection]
) -> None:
    base = "/v2/systemsharedmemory"
    status = f"GET {base}/status HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    memory = shared_memory.SharedMemory(create=True, size=64)
    try:
        place = b'{"key":"%s","offset":0,"byte_size":%d}'
        register = post(f"{base}/region/r/register", place % (memory.name.encode(), 64))
        assert connections[0].ask(register) == (200, "{}")
        assert all('"name":"r"' in c.ask(status)[1] for c in connections)
        # The error of the workers is the caller's.
        for connection in connections:
            assert connection.ask(register)[0] == 409
        too_much = post(f"{base}/region/s/register", place % (memory.name.encode(), 65))
        assert connections[0].ask(too_much)[0] == 400
        assert all('"name":"s"' not in c.ask(status)[1] for c in connections)
        # A worker that is replaced has it too.
        number, pid = max(pids(pair).items())
        os.kill(pid, signal.SIGKILL)
        until(lambda: pids(pair)[number] != pid, 60)
        with opened(pair, 8) as fresh:
            assert all('"name":"r"' in c.ask(status)[1] for c in fresh)
            assert fresh[0].ask(post(f"{base}/unregister")) == (200, "{}")
            assert all(c.ask(status)[1] == "[]" for c in fresh)
    finally:
        memory.close()
        memory.unlink()


class Client(threading.Thread):
    """One request after the other, on one connection after the other, until told to end or nothing
    listens."""

    def __init__(self, served: Served) -> None:
        super().__init__()
        self._served = served
        self.right = 0
        self.lost = 0  # connections that ended while a request was on them
        self.wrong: list[str] = []
        self.ends = False

    def run(self) -> None:
        while not self.ends:
            try:
                connection = Connection(self._served)
            except OSError:
                return
            try:
                while not self.ends and self._ask(connection):
                    pass
            finally:
                connection.close()

    def _ask(self, connection: Connection) -> bool:
        try:
            connection.sock.sendall(REQUEST)
            status, headers, body = connection.reader.answer()
        except (EOFError, ConnectionError):
            self.lost += 1
            return False
        if status != 200 or b'"data":[2' not in body:
            self.wrong.append(f"{status} {body[:200]!r}")
        self.right += 1
        return headers.get("connection") != "close"


def test_a_worker_that_dies_loses_its_own_requests_only(plan: str) -> None:
    with Served(plan, *TWO) as served:
        clients = [Client(served) for _ in range(8)]
        for client in clients:
            client.start()
        until(lambda: all(client.right >= 20 for client in clients))
        counted = served.metric(OK)
        assert counted > 0
        pid = pids(served)[1]
        os.kill(pid, signal.SIGKILL)
        until(lambda: served.metric(OK) > counted)
        until(lambda: pids(served)[1] != pid, 60)
        assert served.metric(OK) > counted
        assert served.metric('pelton_worker_starts_total{worker="1"}') == 2
        assert served.metric('pelton_worker_starts_total{worker="2"}') == 1
        right = sum(client.right for client in clients)
        until(lambda: sum(client.right for client in clients) > right + 100)
        for client in clients:
            client.ends = True
        for client in clients:
            client.join(60)
        assert [line for client in clients for line in client.wrong] == []
        # Of eight connections, four were the dead one's.
        assert sum(client.lost for client in clients) == 4
        until(lambda: httpx.get(f"{served.url}/v2/health/ready").status_code == 200)


@pytest.mark.parametrize("lag_s", [0, 0.5])
def test_sigterm_under_load_answers_every_accepted_request(plan: str, lag_s: float) -> None:
    with Served(plan, *TWO, "--drain-lag-s", str(lag_s)) as served:
        clients = [Client(served) for _ in range(8)]
        for client in clients:
            client.start()
        until(lambda: all(client.right >= 20 for client in clients))
        served.signal(signal.SIGTERM)
        assert served.wait() == 0
        for client in clients:
            client.join(60)
        assert [line for client in clients for line in client.wrong] == []
        assert served.last_count("unanswered") == 0
        assert served.last_count("accepted") == sum(client.right for client in clients)
        each = [r["accepted"] for r in served.log if "accepted" in r and "worker" in r]
        assert len(each) == 2
        assert min(map(int, map(str, each))) > 0


def test_draining_shows_at_once_in_all_and_a_second_signal_stops(plan: str) -> None:
    with Served(plan, *TWO, "--drain-lag-s", "60") as served, opened(served, 4) as held:
        assert all(connection.ask(READY)[0] == 200 for connection in held)
        served.signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{served.url}/v2/health/ready").status_code == 503)
        assert all(connection.ask(READY)[0] == 503 for connection in held)
        with opened(served, 1) as late:
            assert late[0].ask(REQUEST)[0] == 200
        served.signal(signal.SIGTERM)
        assert served.wait() == 1
        assert all(ended(pid) for pid in pids(served).values())


def test_signals_to_the_whole_group_are_the_parents_business(plan: str) -> None:
    with Served(plan, *TWO) as served, opened(served, 1) as (connection,):
        assert connection.ask(REQUEST)[0] == 200
        os.killpg(served.process.pid, signal.SIGINT)
        assert served.wait() == 0
        assert served.last_count("unanswered") == 0
        assert "Traceback" not in str(served.log)


def test_workers_end_when_their_parent_does(plan: str) -> None:
    with Served(plan, *TWO) as served, opened(served, 1) as (connection,):
        found = pids(served)
        assert not any(ended(pid) for pid in found.values())
        assert connection.ask(REQUEST)[0] == 200
        served.signal(signal.SIGKILL)
        served.process.wait(30)
        until(lambda: all(ended(pid) for pid in found.values()))


def test_bad_usage_is_one_line(plan: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [
        ((plan, "--workers", "0"), 2, "workers must be an integer from 1"),
        ((plan, "--workers", "3", "--threads", "2"), 2, "at most the number of threads (2)"),
        ((str(tmp_path / "none.plan"), *TWO), 1, "no such file or folder"),
        ((f"stats={plan[2:]}", *TWO), 2, "the model name 'stats'"),
    ]
    monkeypatch.delenv("PELTON_TEST_MINILM", raising=False)  # it makes a warning
    for arguments, code, words in cases:
        command = [sys.executable, "-m", "pelton", "serve", *arguments, "--port", "0"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stderr
        assert words in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr


def private_bytes(pid: int) -> int:
    """Memory of a process that no other maps."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * sum(map(int, re.findall(r"^Private_(?:Clean|Dirty): +(\d+) kB$", rollup, re.M)))


def large_plan(folder: Path) -> Path:
    """x FP32 [-1, 4] -> y, by the way of 32 MB of weights."""
    random = np.random.default_rng(1)
    builder = GraphBuilder("large")
    value = builder.input("x", (ROWS, 4))
    for rows, columns in ((4, 1024), *((1024, 1024),) * 8, (1024, 4)):
        weight = builder.weight(random.standard_normal((rows, columns), np.float32))
        value = builder.gemm(value, weight)
    builder.output("y", value)
    return toys.write_graph(builder, folder / "large.plan")


def test_workers_share_the_pages_of_the_plan(tmp_path: Path) -> None:
    """Of a plan of 32 MB no worker has a copy of its own, though each has read all of it."""
    large, small = large_plan(tmp_path), toys.plus_one(tmp_path)
    assert large.stat().st_size > 32 << 20
    sizes = []
    for path in (small, large):
        with Served(f"m={path}", *TWO) as served, opened(served, 4) as connections:
            assert all(connection.ask(REQUEST)[0] == 200 for connection in connections)
            sizes.append([private_bytes(pid) for pid in pids(served).values()])
    added = [b - a for a, b in zip(*map(sorted, sizes), strict=True)]
    assert max(added) < 4 << 20, f"private bytes that the large plan adds: {added}"


@pytest.mark.slow
def test_a_worker_that_hangs_is_left_out_and_named(plan: str) -> None:
    with Served(plan, *TWO) as served, opened(served, 4) as connections:
        for connection in connections:
            assert connection.ask(REQUEST)[0] == 200
        counted = served.metric(OK)
        hung = pids(served)[1]
        os.kill(hung, signal.SIGSTOP)
        try:
            # Whoever is asked and runs answers; every second connection is with the one that hangs.
            answers, running = [], []
            for connection in connections:
                connection.sock.settimeout(5)
                with suppress(TimeoutError):
                    answers.append(connection.ask(METRICS)[1])
                    running.append(connection)
            assert len(answers) == 2
            for text in answers:
                assert value(text, OK) == counted
                assert value(text, 'pelton_worker_late_answers_total{worker="1"}') >= 1
            assert running[0].ask(READY)[0] == 503
        finally:
            os.kill(hung, signal.SIGCONT)
        until(lambda: httpx.get(f"{served.url}/v2/health/ready", timeout=30).status_code == 200)
        assert any("worker 1 did not answer" in str(r["message"]) for r in served.log)


@pytest.mark.slow
def test_workers_that_cannot_start_any_more_end_the_server_in_one_line(tmp_path: Path) -> None:
    path = toys.plus_one(tmp_path)
    with Served(f"m={path}", *TWO) as served:
        path.unlink()
        os.kill(pids(served)[1], signal.SIGKILL)
        assert served.wait() == 1
        last = str(served.log[-1]["message"])
        assert last.startswith("pelton: worker 1 ended 5 times while it started: ")
        assert "no such file or folder" in last
        assert all(ended(pid) for pid in pids(served).values())
