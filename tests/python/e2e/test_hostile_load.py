"""Hostile clients of every kind at once beside well-behaved ones, against one `pelton serve`: all
that behave are answered right, the process goes on, and counts and memory come back."""

from __future__ import annotations

import gzip
import json
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgpack
import pytest

from python import toys
from python.e2e.served import Served, until
from python.http.hostile import (
    NATIVE,
    Answer,
    Reader,
    binary,
    binary_infer,
    body_of,
    chunked,
    chunks,
    head,
    infer,
    reset,
)

pytestmark = pytest.mark.e2e

HANDED_OVER = f"{NATIVE}?a=b"
PATHS = (NATIVE, HANDED_OVER)
EMBEDDINGS = "/v1/embeddings"
# A hostile client does not wait for ever for a server that has given it up.
PATIENCE_S = 3.0
MIB = 1 << 20


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    models = (f"plus_one={toys.plus_one(tmp_path)}", f"tiny={toys.tiny_encoder(tmp_path)}")
    limits = ("--head-s-max", "2", "--body-bytes-max", str(8 * MIB), "--threads", "1")
    with Served(*models, *limits) as served:
        yield served


@dataclass
class Hostile:
    """One hostile client after the other, of kinds drawn by a seed, until told to stop."""

    port: int
    rng: random.Random
    stop: threading.Event
    used: dict[str, int] = field(default_factory=dict)
    surprises: list[str] = field(default_factory=list)

    def run(self) -> None:
        kinds = list(KINDS)
        self.rng.shuffle(kinds)
        turn = 0
        while not self.stop.is_set():
            kind = kinds[turn % len(kinds)]
            turn += 1
            self.used[kind] = self.used.get(kind, 0) + 1
            sock = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
            try:
                # Whatever happens to its connection is no surprise.
                with suppress(OSError, EOFError):
                    KINDS[kind](self, sock)
            except Exception as error:
                self.surprises.append(f"{kind}: {error!r}")
            finally:
                sock.close()

    def expect(self, sock: socket.socket, *statuses: int) -> None:
        """Raises where there is an answer and it is none of these."""
        answers = Reader(sock).rest()
        for answer in answers:
            if answer.status not in statuses:
                raise AssertionError(f"{answer.status}: {answer.body[:200]!r}")

    def expect_one(self, sock: socket.socket, *statuses: int) -> None:
        answer = Reader(sock).answer()
        if answer.status not in statuses:
            raise AssertionError(f"{answer.status}: {answer.body[:200]!r}")

    @property
    def path(self) -> str:
        return self.rng.choice(PATHS)

    def wait(self, longest_s: float) -> None:
        self.stop.wait(self.rng.random() * longest_s)


def bytes_at_random(client: Hostile, sock: socket.socket) -> None:
    sock.sendall(client.rng.randbytes(client.rng.randint(1, 5000)) + b"\r\n\r\n")
    client.expect(sock, 400, 414, 431)


def broken_head(client: Hostile, sock: socket.socket) -> None:
    request = bytearray(infer(client.path))
    for _ in range(client.rng.randint(1, 3)):
        request[client.rng.randrange(60)] = client.rng.choice(b"\r\n\0 :\x7f\xff/%")
    sock.sendall(bytes(request))
    sock.shutdown(socket.SHUT_WR)
    client.expect(sock, 200, 400, 404, 405, 408, 411, 415, 417, 501)


def two_lengths(client: Hostile, sock: socket.socket) -> None:
    body = chunks(body_of(NATIVE), 20) + b"0\r\n\r\n"
    fields = ("Content-Length: 4", "Transfer-Encoding: chunked")
    sock.sendall(head(client.path, *fields) + body + infer(NATIVE))
    client.expect(sock, 400)


def slow_head(client: Hostile, sock: socket.socket) -> None:
    for byte in head(client.path, "A: " + "x" * 1000):
        sock.send(bytes([byte]))
        if client.stop.wait(0.01):
            return
    client.expect(sock, 408)


def silent(client: Hostile, sock: socket.socket) -> None:
    client.wait(3)


def slow_body(client: Hostile, sock: socket.socket) -> None:
    body = body_of(NATIVE)
    sock.sendall(head(client.path, f"Content-Length: {len(body)}"))
    for byte in body:
        sock.send(bytes([byte]))
        if client.stop.wait(0.002):
            return
    client.expect_one(sock, 200)


def body_that_ends_early(client: Hostile, sock: socket.socket) -> None:
    request = client.rng.choice((infer(client.path), binary_infer(client.path, 1000)))
    sock.sendall(request[: client.rng.randint(1, len(request) - 1)])
    if client.rng.random() < 0.5:
        sock.shutdown(socket.SHUT_WR)
        client.expect(sock)
    else:
        reset(sock)


def gone_before_its_answer(client: Hostile, sock: socket.socket) -> None:
    sock.sendall(infer(client.path) * client.rng.randint(1, 50))
    reset(sock) if client.rng.random() < 0.5 else sock.close()


def never_reads(client: Hostile, sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(0.3)
    with suppress(TimeoutError):
        for _ in range(20):
            sock.sendall(binary_infer(client.path, 1 << 14))
    client.wait(2)


def reads_slowly(client: Hostile, sock: socket.socket) -> None:
    sock.sendall(binary_infer(client.path, 1 << 15))
    answer = Reader(sock, pause_s=0.05).answer()
    if answer.status not in (200, 503):
        raise AssertionError(answer)


def pipelined(client: Hostile, sock: socket.socket) -> None:
    count = client.rng.randint(65, 300)
    sock.sendall(b"".join(infer(client.path, n) for n in range(count)))
    reader = Reader(sock)
    for n in range(count):
        answer = reader.answer()
        if answer.status == 200 and answer.json()["outputs"][0]["data"] != [n + 1.0] * toys.WIDTH:
            raise AssertionError(f"answer {n} is {answer.body!r}")


def chunks_of_one_byte(client: Hostile, sock: socket.socket) -> None:
    sock.sendall(chunked(client.path, chunks(body_of(NATIVE) + b" " * 20_000, 1), b"0\r\n\r\n"))
    client.expect_one(sock, 200)


def broken_chunks(client: Hostile, sock: socket.socket) -> None:
    body = bytearray(chunks(body_of(NATIVE), 7) + b"0\r\n\r\n")
    body[client.rng.randrange(len(body))] = client.rng.choice(b"gz-+; \n\r\0")
    sock.sendall(chunked(client.path, bytes(body)))
    sock.shutdown(socket.SHUT_WR)
    client.expect(sock, 200, 400, 413, 431)


def claims_much(client: Hostile, sock: socket.socket) -> None:
    length = client.rng.choice((8 * MIB, 9 * MIB, 1 << 40, (1 << 63) - 1, 1 << 63))
    sock.sendall(head(client.path, f"Content-Length: {length}") + b'{"inputs":')
    client.wait(1)


def large_and_wrong(client: Hostile, sock: socket.socket) -> None:
    text, data = binary(NATIVE, 1 << 18)
    fields = (
        f"Content-Length: {len(text) + len(data)}",
        f"Inference-Header-Content-Length: {len(text)}",
    )
    sock.sendall(head(client.path, *fields) + text.replace(b'"x"', b'"z"') + data)
    client.expect_one(sock, 400, 503)


def deep(client: Hostile, sock: socket.socket) -> None:
    body = b'{"inputs":' + client.rng.choice((b"[", b'{"a":')) * 100_000
    sock.sendall(head(client.path, f"Content-Length: {len(body)}") + body)
    client.expect_one(sock, 400)


def long_number(client: Hostile, sock: socket.socket) -> None:
    body = body_of(NATIVE).replace(b"1.0", b"1" * 1_000_000, 1)
    sock.sendall(head(client.path, f"Content-Length: {len(body)}") + body)
    client.expect_one(sock, 400)


def long_text(client: Hostile, sock: socket.socket) -> None:
    text = client.rng.choice(("a", "a ", "é", "\n")) * 2_000_000
    body = json.dumps({"model": "tiny", "input": text}, ensure_ascii=False).encode()
    fields = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    sock.sendall(head(EMBEDDINGS, *fields) + body)
    client.expect_one(sock, 413)


def compressed_bomb(client: Hostile, sock: socket.socket) -> None:
    path = client.rng.choice((*PATHS, EMBEDDINGS))
    fields = ("Content-Encoding: gzip", f"Content-Length: {len(BOMB)}")
    sock.sendall(head(path, *fields) + BOMB)
    client.expect_one(sock, 413)


def msgpack_bomb(client: Hostile, sock: socket.socket) -> None:
    body = client.rng.choice(
        (
            b"\x91" * 100_000,
            b"\xdd\xff\xff\xff\xff" * 1000,
            b"\x81\xa6inputs\xdd\xff\xff\xff\xff",
            b"\xdd" + struct.pack(">I", 1 << 20) + b"\xc0" * (1 << 20),
            msgpack.packb({"inputs": []})[:-1],
        )
    )
    fields = ("Content-Type: application/msgpack", f"Content-Length: {len(body)}")
    sock.sendall(head(client.path, *fields) + body)
    client.expect_one(sock, 400)


def asks_and_stays_away(client: Hostile, sock: socket.socket) -> None:
    sock.sendall(head(client.path, "Content-Length: 1000", "Expect: 100-continue"))
    client.wait(1)


def header_bomb(client: Hostile, sock: socket.socket) -> None:
    lines = (f"f{n}: {'x' * 500}" for n in range(200))
    sock.sendall(head(client.path, *lines))
    client.expect(sock, 431)


def other_routes(client: Hostile, sock: socket.socket) -> None:
    paths = ("/", "/nope", "/v2/models/none", "/metrics", "/v2/models/plus_one/stats", "/v2?a=b")
    methods = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS")
    sock.sendall(head(client.rng.choice(paths), method=client.rng.choice(methods)))
    client.wait(0.1)


BOMB = gzip.compress(b" " * (16 * MIB))
KINDS: dict[str, Callable[[Hostile, socket.socket], None]] = {
    kind.__name__: kind
    for kind in (
        bytes_at_random,
        broken_head,
        two_lengths,
        slow_head,
        silent,
        slow_body,
        body_that_ends_early,
        gone_before_its_answer,
        never_reads,
        reads_slowly,
        pipelined,
        chunks_of_one_byte,
        broken_chunks,
        claims_much,
        large_and_wrong,
        deep,
        long_number,
        long_text,
        compressed_bomb,
        msgpack_bomb,
        asks_and_stays_away,
        header_bomb,
        other_routes,
    )
}


@dataclass
class WellBehaved:
    """Requests one after the other on one connection, and on the next when the server says that it
    closes one; each answer must be right."""

    port: int
    rng: random.Random
    stop: threading.Event
    vectors: dict[str, str]
    answered: int = 0
    slowest_s: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                with socket.create_connection(("127.0.0.1", self.port), timeout=60) as sock:
                    self._ask_while_open(sock)
        except Exception as error:
            self.wrong.append(repr(error))

    def _ask_while_open(self, sock: socket.socket) -> None:
        reader = Reader(sock)
        is_open = True
        while is_open and not self.stop.is_set():
            started = time.monotonic()
            is_open = not self._ask(sock, reader).closes
            self.slowest_s = max(self.slowest_s, time.monotonic() - started)
            self.answered += 1

    def _ask(self, sock: socket.socket, reader: Reader) -> Answer:
        if self.rng.random() < 0.3:
            text = self.rng.choice(list(self.vectors))
            sock.sendall(embed(text))
            answer = reader.answer()
            found = vector_of(answer)
            if found != self.vectors[text]:
                self.wrong.append(f"{text}: {found}")
            return answer
        value = float(self.rng.randrange(1 << 20))
        sock.sendall(infer(self.rng.choice(PATHS), value))
        answer = reader.answer()
        if answer.status != 200 or answer.json()["outputs"][0]["data"] != [value + 1] * toys.WIDTH:
            self.wrong.append(f"{value}: {answer}")
        return answer


def embed(text: str) -> bytes:
    body = json.dumps({"model": "tiny", "input": text, "encoding_format": "base64"}).encode()
    fields = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    return head(EMBEDDINGS, *fields) + body


def vector_of(answer: Answer) -> str:
    assert answer.status == 200, answer
    return str(answer.json()["data"][0]["embedding"])


def known_vectors(served: Served) -> dict[str, str]:
    """What texts become when nothing else is asked."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as sock:
        reader = Reader(sock)
        found = {}
        for text in ("w1", "w1 w2", "w3 w1 w2 w7", "w4 " * 9):
            sock.sendall(embed(text))
            found[text] = vector_of(reader.answer())
        return found


def is_quiet(served: Served) -> bool:
    """The scrape itself is the one request, on its own connection."""
    if served.metric("pelton_requests_in_flight") != 1:
        return False
    queues = (served.metric(f'pelton_queue_rows{{model="{m}",version="1"}}') for m in MODELS)
    return served.metric("pelton_connections") <= 2 and not any(queues)


MODELS = ("plus_one", "tiny")


def attack(served: Served, seed: int, seconds: float, vectors: dict[str, str]) -> int:
    """Returns how many requests of well-behaved clients were answered, all of them right."""
    stop = threading.Event()
    good_stop = threading.Event()
    hostile = [Hostile(served.port, random.Random(seed * 1000 + n), stop) for n in range(24)]
    good = [
        WellBehaved(served.port, random.Random(seed * 77 + n), good_stop, vectors) for n in range(4)
    ]
    threads = [threading.Thread(target=client.run) for client in (*good, *hostile)]
    for thread in threads:
        thread.start()
    stop.wait(seconds)
    stop.set()
    for thread in threads[len(good) :]:
        thread.join(60)
    good_stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert [line for client in good for line in client.wrong] == []
    assert [line for client in hostile for line in client.surprises] == []
    assert {kind for client in hostile for kind in client.used} == set(KINDS)
    assert all(client.answered > 0 and client.slowest_s < 30 for client in good)
    return sum(client.answered for client in good)


def serve_through_attacks(served: Served, seed: int, seconds: float, rounds: int) -> None:
    vectors = known_vectors(served)
    ok = 'pelton_requests_total{model="tiny",outcome="ok",version="1"}'
    sizes = []
    for round_number in range(rounds):
        before = served.metric(ok)
        assert attack(served, seed + round_number, seconds, vectors) > 20
        assert served.process.poll() is None
        until(lambda: is_quiet(served), 60)
        assert served.metric(ok) > before
        assert known_vectors(served) == vectors
        sizes.append((served.resident_bytes(), served.descriptor_count()))
    # The first round makes what is made once: caches, threads, arenas of the allocator.
    resident, descriptors = zip(*sizes, strict=True)
    assert resident[-1] - resident[0] < 48 * MIB, resident
    assert descriptors[-1] <= descriptors[0] + 2, descriptors
    assert served.peak_bytes() < resident[0] + 512 * MIB
    assert [record for record in served.log if record.get("level") == "error"] == []


def test_the_well_behaved_are_served_beside_hostile_clients(served: Served, seed: int) -> None:
    serve_through_attacks(served, seed, seconds=2.0, rounds=2)


@pytest.mark.slow
def test_the_well_behaved_are_served_for_long(served: Served, seed: int) -> None:
    serve_through_attacks(served, seed + 1000, seconds=15.0, rounds=5)
