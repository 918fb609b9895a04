"""How much memory a request may cost the serving process, as a multiple of its body: the highest
resident size since before it, as the kernel counts it."""

from __future__ import annotations

import functools
import gzip
import socket
import struct
import time
from collections.abc import Iterator

import msgpack
import pytest

from python import toys
from python.e2e.served import Served, until
from python.http.hostile import NATIVE, Answer, Reader, binary, body_of, head, infer

pytestmark = pytest.mark.e2e

MIB = 1 << 20
BODY_BYTES = 64 * MIB  # the default limit
ROWS = (BODY_BYTES - 4096) // (4 * toys.WIDTH)
# A query is not the native path's: the same model is asked through the application.
PATHS = pytest.mark.parametrize("path", [NATIVE, f"{NATIVE}?a=b"], ids=["native", "python"])
FRAMINGS = pytest.mark.parametrize(
    "chunk_bytes",
    [0, pytest.param(65536, id="chunks"), pytest.param(1100, id="tiny", marks=pytest.mark.slow)],
)
# What is there beside the request: thread stacks, caches of the allocator, socket reads.
SLACK_BYTES = 24 * MIB


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    plan = toys.plus_one(tmp_path_factory.mktemp("memory"))
    with Served(f"plus_one={plan}", "--threads", "1") as served:
        yield served


def send(sock: socket.socket, path: str, body: bytes, chunk_bytes: int, *fields: str) -> None:
    if not chunk_bytes:
        sock.sendall(head(path, f"Content-Length: {len(body)}", *fields))
        return sock.sendall(body)
    sock.sendall(head(path, "Transfer-Encoding: chunked", *fields))
    view = memoryview(body)
    line = b"%x\r\n" % chunk_bytes
    whole = len(body) // chunk_bytes * chunk_bytes
    # Some hundred chunks a call: it is the server's time that should be spent.
    step = chunk_bytes * max(1, MIB // chunk_bytes)
    for begin in range(0, whole, step):
        end = min(begin + step, whole)
        pieces = (view[at : at + chunk_bytes] for at in range(begin, end, chunk_bytes))
        sock.sendall(b"".join(b"%b%b\r\n" % (line, piece) for piece in pieces))
    rest = view[whole:]
    sock.sendall((b"%x\r\n%b\r\n" % (len(rest), rest) if rest else b"") + b"0\r\n\r\n")
    return None


def cost(
    served: Served, path: str, body: bytes, *fields: str, chunk_bytes: int = 0
) -> tuple[Answer, int]:
    """The answer, and what the peak was above what was resident before."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as sock:
        reader = Reader(sock)
        sock.sendall(infer(path))  # what is made once is made
        assert reader.answer().status == 200
        settled(served)
        served.forget_peak()
        before = served.resident_bytes()
        send(sock, path, body, chunk_bytes, *fields)
        answer = reader.answer()
        peak = served.peak_bytes() - before
        until(lambda: served.resident_bytes() - before < BODY_BYTES)
        return answer, peak


def settled(served: Served) -> None:
    """What an earlier request held is given back a moment after its answer."""
    last, since = served.resident_bytes(), time.monotonic()
    while time.monotonic() - since < 0.1:
        time.sleep(0.01)
        if served.resident_bytes() != last:
            last, since = served.resident_bytes(), time.monotonic()


@PATHS
@FRAMINGS
def test_a_refused_body_is_held_once(chunk_bytes: int, path: str, served: Served) -> None:
    text, data = binary(path, ROWS)
    body = text.replace(b'"x"', b'"z"') + data
    field = f"Inference-Header-Content-Length: {len(text)}"
    answer, peak = cost(served, path, body, field, chunk_bytes=chunk_bytes)
    assert (answer.status, answer.json()["tensor"]) == (400, "z")
    assert peak <= len(body) + SLACK_BYTES


@pytest.mark.parametrize(
    ("path", "chunk_bytes"),
    [
        pytest.param(
            path, size, marks=() if size == (65536 if path == NATIVE else 0) else pytest.mark.slow
        )
        for path in (NATIVE, f"{NATIVE}?a=b")
        for size in (0, 65536, 1100)
    ],
)
def test_an_answered_body_costs_its_tensors_and_its_answer(
    chunk_bytes: int, path: str, served: Served
) -> None:
    """The input is a view of the body, the output is as large, and so is the answer made of it."""
    text, data = binary(path, ROWS)
    field = f"Inference-Header-Content-Length: {len(text)}"
    answer, peak = cost(served, path, text + data, field, chunk_bytes=chunk_bytes)
    assert (answer.status, len(answer.body) > len(data)) == (200, True)
    assert peak <= 3 * BODY_BYTES + SLACK_BYTES


@functools.cache
def large(kind: str) -> bytes:
    body = body_of(NATIVE)
    fill = BODY_BYTES - 4096
    count = fill // 4 // toys.WIDTH * toys.WIDTH
    row = {"name": "x", "datatype": "FP32", "shape": [count // toys.WIDTH, toys.WIDTH]}
    if kind == "numbers":
        return body.replace(b"[1, 4]", b"[%d, 4]" % (count // toys.WIDTH)).replace(
            b"[1.0, 1.0, 1.0, 1.0]", b"[%b]" % (b"1.5," * count)[:-1]
        )
    if kind == "a wrong number at the end":
        return large("numbers").replace(b"1.5]", b"1.x]")
    if kind == "arrays":
        return body.replace(b"[1.0, 1.0, 1.0, 1.0]", b"[%b]" % (b"[], " * (fill // 4))[:-2])
    if kind == "spaces":
        return body + b" " * fill
    if kind == "a text":
        return body[:-1] + b', "x": "%b"}' % (b"a" * fill)
    if kind == "escapes":
        return body[:-1] + b', "x": "%b"}' % (b"\\n" * (fill // 2))
    # A list of msgpack, written without making one here.
    item = b"\xc0" if kind == "nils" else struct.pack(">Bf", 0xCA, 1.5)
    count = fill // len(item) // toys.WIDTH * toys.WIDTH
    rows = {"inputs": [{**row, "shape": [count // toys.WIDTH, toys.WIDTH], "data": "#"}]}
    items = b"\xdd" + struct.pack(">I", count) + item * count
    return msgpack.packb(rows).replace(msgpack.packb("#"), items)


@PATHS
@pytest.mark.parametrize(
    "kind",
    [
        "numbers",
        *(
            pytest.param(kind, marks=pytest.mark.slow)
            for kind in (
                "a wrong number at the end",
                "arrays",
                "spaces",
                "a text",
                "escapes",
                "nils",
                "reals",
            )
        ),
    ],
)
def test_whatever_a_large_body_is_made_of(kind: str, path: str, served: Served) -> None:
    """Where there is a limit below that of bodies (the JSON head, elements of msgpack lists), it is
    told; else the answer is right. Neither costs more than a small multiple of the body."""
    body = large(kind)
    assert 0.9 * BODY_BYTES < len(body) <= BODY_BYTES
    fields = ("Content-Type: application/msgpack",) if kind in ("nils", "reals") else ()
    answer, peak = cost(served, path, body, *fields)
    assert answer.status in ((200,) if kind in ("spaces", "a text") else (200, 400, 413))
    assert peak <= 4 * BODY_BYTES + SLACK_BYTES


@PATHS
@pytest.mark.parametrize("members", [1, 80])
def test_a_compressed_bomb_costs_what_it_is(members: int, path: str, served: Served) -> None:
    """80 MiB in 80 KB: given up at a hundred times its size."""
    bomb = gzip.compress(b" " * (80 * MIB // members)) * members
    answer, peak = cost(served, path, bomb, "Content-Encoding: gzip")
    assert answer.status == 413
    assert peak <= 100 * len(bomb) + SLACK_BYTES


@PATHS
def test_claims_cost_nothing(path: str, served: Served) -> None:
    socks = []
    before = served.resident_bytes()
    served.forget_peak()
    for _ in range(100):
        sock = socket.create_connection(("127.0.0.1", served.port), timeout=60)
        sock.sendall(head(path, f"Content-Length: {BODY_BYTES}") + b'{"inputs":')
        socks.append(sock)
    until(lambda: served.metric("pelton_connections") >= 100)
    peak = served.peak_bytes() - before
    for sock in socks:
        sock.close()
    assert peak <= SLACK_BYTES
    until(lambda: served.metric("pelton_connections") <= 2)
