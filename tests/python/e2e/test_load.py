"""A server of the real model under load, abuse, signals, and no load at all."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import signal
import socket
import struct
import threading
import time
from pathlib import Path

import httpx
import msgpack
import numpy as np
import pytest

from python.e2e.served import Served, until
from python.http.test_protocol import Reader

pytestmark = pytest.mark.e2e

WORDS = [
    "the",
    "a",
    "of",
    "river",
    "turbine",
    "wheel",
    "water",
    "power",
    "energy",
    "bucket",
    "nozzle",
    "jet",
    "speed",
    "head",
]
INFER = "/v2/models/minilm/infer"


def sentence(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.choice((1, 2, 4, 8, 30))))


def in_json(texts: list[str]) -> tuple[str, bytes, dict[str, str]]:
    row = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": texts}
    return INFER, json.dumps({"inputs": [row]}).encode(), {}


def in_binary(texts: list[str]) -> tuple[str, bytes, dict[str, str]]:
    raw = b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in texts)
    row = {
        "name": "text",
        "datatype": "BYTES",
        "shape": [len(texts)],
        "parameters": {"binary_data_size": len(raw)},
    }
    head = json.dumps({"inputs": [row], "parameters": {"binary_data_output": True}}).encode()
    return INFER, head + raw, {"Inference-Header-Content-Length": str(len(head))}


def in_msgpack(texts: list[str]) -> tuple[str, bytes, dict[str, str]]:
    row = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": texts}
    return INFER, msgpack.packb({"inputs": [row]}), {"Content-Type": "application/msgpack"}


def in_openai(texts: list[str]) -> tuple[str, bytes, dict[str, str]]:
    body = {"model": "minilm", "input": texts, "encoding_format": "base64"}
    return "/v1/embeddings", json.dumps(body).encode(), {"Content-Type": "application/json"}


FORMS = (in_json, in_binary, in_msgpack, in_openai)


def vectors(form, headers: dict[str, str], body: bytes) -> np.ndarray:
    if form is in_json:
        output = json.loads(body)["outputs"][0]
        return np.array(output["data"], np.float32).reshape(output["shape"])
    if form is in_openai:
        rows = [base64.b64decode(item["embedding"]) for item in json.loads(body)["data"]]
        return np.frombuffer(b"".join(rows), "<f4").reshape(len(rows), -1)
    if form is in_msgpack:
        output = msgpack.unpackb(body)["outputs"][0]
        return np.frombuffer(output["data"], "<f4").reshape(output["shape"])
    length = int(headers["inference-header-content-length"])
    return np.frombuffer(body[length:], "<f4").reshape(-1, 384)


def request_bytes(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def ask(port: int, data: bytes, leave_after_s: float | None):
    """One request on its own connection: status, headers, body; None when the client left."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        if leave_after_s is not None:
            await asyncio.sleep(leave_after_s)
            return None
        head = await reader.readuntil(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines[:-2])
        }
        body = await reader.readexactly(int(headers["content-length"]))
        return int(status_line.split()[1]), headers, body
    finally:
        writer.close()


async def storm(port: int, seed: int, count: int) -> list[tuple[object, list[str], object]]:
    """`count` requests at once, mixed in form and size; every tenth client leaves: at once, or so
    late that its request is queued, or runs, or is over."""
    rng = random.Random(seed)
    calls = []
    for number in range(count):
        texts = [sentence(rng) for _ in range(rng.choice((1, 1, 1, 1, 3)))]
        form = rng.choice(FORMS)
        leave = rng.choice((0.0, 0.02, 0.1, 0.5, 1.0)) if number % 10 == 0 else None
        calls.append((form, texts, ask(port, request_bytes(*form(texts)), leave)))
    answers = await asyncio.gather(*(call for _, _, call in calls))
    return [(form, texts, answer) for (form, texts, _), answer in zip(calls, answers, strict=True)]


def in_flight(served: Served) -> float:
    return served.metric("pelton_requests_in_flight")


# asyncio leaves a socket behind whose connecting was cancelled.
@pytest.mark.filterwarnings("ignore:unclosed <socket", "ignore:Exception ignored in")
def test_a_thousand_at_once_with_a_tenth_of_them_cancelled(served, minilm_model, seed) -> None:
    sizes = []
    for round_number in range(2):
        answers = asyncio.run(storm(served.port, seed + round_number, 1000))
        texts = sorted({text for _, texts, _ in answers for text in texts})
        rows = dict(zip(texts, minilm_model.embed(texts), strict=True))
        answered = 0
        for form, given, answer in answers:
            if answer is None:
                continue
            status, headers, body = answer
            assert status == 200, body
            assert (vectors(form, headers, body) == [rows[text] for text in given]).all()
            answered += 1
        assert answered == 900
        # The scrape itself is the one request in flight.
        until(lambda: in_flight(served) == 1)
        until(lambda: served.metric("pelton_connections") <= 2)
        assert served.metric('pelton_queue_rows{model="minilm",version="1"}') == 0
        sizes.append((served.resident_bytes(), served.descriptor_count()))
    assert sizes[1][0] - sizes[0][0] < 32 << 20, "it grows with each round"
    assert sizes[1][1] <= sizes[0][1] + 2


def mutate(rng: random.Random, body: bytes) -> bytes:
    """Damage of one kind or another to a valid body."""
    data = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        kind = rng.randrange(6)
        at = rng.randrange(len(data) + 1)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at : at + rng.randint(1, 16)]
        elif kind == 2:
            data[at:at] = rng.randbytes(rng.randint(1, 16))
        elif kind == 3:
            del data[at:]
        elif kind == 4:
            data[at:at] = rng.choice((b"[", b"{", b'"', b"\0", b"9" * 30, b"\xff", b"null", b"\\u"))
        elif data:
            data *= 2
    return bytes(data)


def test_two_thousand_malformed_bodies_leave_it_answering(served, seed) -> None:
    rng = random.Random(seed)
    statuses: dict[int, int] = {}
    with httpx.Client(base_url=served.url, timeout=30) as client:
        for _ in range(2000):
            form = rng.choice(FORMS)
            path, body, headers = form([sentence(rng)[:40] for _ in range(rng.randint(1, 2))])
            if rng.random() < 0.1:
                path = "/v2/models/" + rng.choice(("none", "minilm/versions/9", "%00")) + "/infer"
            if "Inference-Header-Content-Length" in headers and rng.random() < 0.2:
                wrong = str(rng.choice((0, -1, len(body), 10**9, "x")))
                headers = {"Inference-Header-Content-Length": wrong}
            reply = client.post(path, content=mutate(rng, body), headers=headers)
            statuses[reply.status_code] = statuses.get(reply.status_code, 0) + 1
            assert reply.status_code in (200, 400, 404, 413), (reply.status_code, reply.text)
            if reply.status_code != 200:
                assert reply.content
    assert statuses[400] > 1000, statuses
    until(lambda: in_flight(served) == 1)
    assert served.metric('pelton_queue_rows{model="minilm",version="1"}') == 0
    path, body, headers = in_openai(["hello world"])
    reply = httpx.post(served.url + path, content=body, headers=headers, timeout=30)
    assert reply.json()["usage"]["prompt_tokens"] == 4
    assert not [record for record in served.log if record.get("level") == "error"]


def test_an_idle_server_uses_no_cpu(served) -> None:
    httpx.get(f"{served.url}/v2/health/ready", timeout=30)
    until(lambda: busy_share(served, 0.5) < 0.01)
    assert busy_share(served, 5.0) < 0.01


def busy_share(served: Served, seconds: float) -> float:
    """The share of one CPU that the process used over a time."""
    before, started = served.cpu_ns(), time.monotonic_ns()
    time.sleep(seconds)
    return (served.cpu_ns() - before) / (time.monotonic_ns() - started)


class LoadThread(threading.Thread):
    """Sends requests one after the other, on one connection as long as the server keeps it, until
    the server takes no more. A request counts as begun when its bytes were sent."""

    def __init__(self, port: int, seed: int, wanted: dict[str, np.ndarray]) -> None:
        super().__init__()
        self._port = port
        self._rng = random.Random(seed)
        self._wanted = wanted
        self.right = 0
        self.unanswered = 0  # sent on a connection that ended before a byte of the answer came
        self.broken: list[str] = []

    def run(self) -> None:
        while True:
            try:
                sock = socket.create_connection(("127.0.0.1", self._port), timeout=60)
            except OSError:
                return
            with sock:
                reader = Reader(sock)
                while self._ask(sock, reader):
                    pass

    def _ask(self, sock: socket.socket, reader: Reader) -> bool:
        """Whether to go on with this connection."""
        form = self._rng.choice(FORMS)
        texts = self._rng.choices(list(self._wanted), k=self._rng.choice((1, 1, 4)))
        try:
            sock.sendall(request_bytes(*form(texts)))
            status, headers, body = reader.answer()
        except (EOFError, ConnectionError):
            self.unanswered += 1
            return False
        except Exception as error:  # half of an answer is what must never come
            self.broken.append(repr(error))
            return False
        found = vectors(form, headers, body) if status == 200 else None
        if found is None or not (found == [self._wanted[text] for text in texts]).all():
            self.broken.append(f"{status}: {body[:200]!r}")
        self.right += 1
        return headers.get("connection") != "close"


@pytest.mark.parametrize("lag_s", [0, 0.5])
def test_sigterm_under_load_loses_no_accepted_request(
    lag_s, minilm: Path, minilm_model, seed
) -> None:
    rng = random.Random(seed)
    texts = sorted({sentence(rng) for _ in range(50)})
    wanted = dict(zip(texts, minilm_model.embed(texts), strict=True))
    with Served(f"minilm={minilm}", "--drain-lag-s", str(lag_s)) as served:
        threads = [LoadThread(served.port, seed + n, wanted) for n in range(16)]
        for thread in threads:
            thread.start()
        until(lambda: all(thread.right >= 5 for thread in threads), 60)
        served.signal(signal.SIGTERM)
        assert served.wait() == 0
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        assert [line for thread in threads for line in thread.broken] == []
        # Every request whose head was read has been answered, and every answer arrived.
        assert served.last_count("unanswered") == 0
        assert served.last_count("accepted") == sum(thread.right for thread in threads)


def test_ready_is_off_at_once_and_requests_are_taken_during_the_lag(minilm: Path) -> None:
    with Served(f"minilm={minilm}", "--drain-lag-s", "30") as served:
        served.signal(signal.SIGTERM)
        ready = f"{served.url}/v2/health/ready"
        until(lambda: httpx.get(ready, timeout=30).status_code == 503)
        path, body, headers = in_openai(["a"])
        reply = httpx.post(served.url + path, content=body, headers=headers, timeout=30)
        assert (reply.status_code, reply.headers["connection"]) == (200, "close")
        served.signal(signal.SIGTERM)  # the second one stops at once
        assert served.wait() == 1
        assert "Traceback" not in str(served.log)


def test_ctrl_c_skips_the_lag(minilm: Path) -> None:
    with Served(f"minilm={minilm}", "--drain-lag-s", "60") as served:
        started = time.monotonic()
        served.signal(signal.SIGINT)
        assert served.wait() == 0
        assert time.monotonic() - started < 30


def test_a_taken_port_is_one_line_and_2(minilm: Path, served) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-m", "pelton", "serve", str(minilm), "--port", str(served.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("pelton: cannot listen on 127.0.0.1")
    assert "Traceback" not in done.stderr


def test_warnings_are_log_lines_like_all_others(minilm: Path, monkeypatch) -> None:
    monkeypatch.setenv("PELTON_THREDS", "2")
    with Served(f"minilm={minilm}", "--host", "0.0.0.0") as served:
        served.signal(signal.SIGTERM)
        assert served.wait() == 0
        warnings = [str(r["message"]) for r in served.log if r.get("level") == "warning"]
        assert any("PELTON_THREDS; the nearest is 'PELTON_THREADS'" in text for text in warnings)
        assert any("without keys" in text for text in warnings)
        assert all("time" in record for record in served.log)
