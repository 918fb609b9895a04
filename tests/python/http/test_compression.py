"""Compressed requests and answers through the application."""

from __future__ import annotations

import gzip
import json
import threading
import zlib

import msgpack
import numpy as np
import pytest

from pelton.http import _exchange
from python.http.asgi import Asgi

zstd = pytest.importorskip("backports.zstd")

INFER = "/v2/models/plus_one/infer"
ENCODE = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstd.compress}
DECODE = {"gzip": gzip.decompress, "deflate": zlib.decompress, "zstd": zstd.decompress}
CODINGS = pytest.mark.parametrize("coding", list(ENCODE))


def body_of(rows: int, value: float = 0.5) -> bytes:
    data = [value] * (4 * rows)
    row = {"name": "x", "shape": [rows, 4], "datatype": "FP32", "data": data}
    return json.dumps({"inputs": [row]}).encode()


@CODINGS
@pytest.mark.parametrize("rows", [1, 10_000])
def test_a_compressed_request(coding: str, rows: int, client: Asgi) -> None:
    # Numbers that differ: the ratio has a limit.
    values = [n % 977 for n in range(4 * rows)]
    row = {"name": "x", "shape": [rows, 4], "datatype": "FP32", "data": values}
    body = ENCODE[coding](json.dumps({"inputs": [row]}).encode())
    for sent in (body, [body[:9], body[9:]]):
        reply = client.ask("POST", INFER, sent, {"Content-Encoding": coding})
        assert reply.status == 200
        assert reply.json()["outputs"][0]["data"] == [value + 1 for value in values]


@CODINGS
def test_lengths_are_of_the_decompressed_body(coding: str, client: Asgi) -> None:
    sizes = {"binary_data_size": 16}
    row = {"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": sizes}
    head = json.dumps({"inputs": [row]}).encode()
    body = ENCODE[coding](head + np.arange(4, dtype="<f4").tobytes())
    headers = {"Content-Encoding": coding, "Inference-Header-Content-Length": str(len(head))}
    assert client.ask("POST", INFER, body, headers).json()["outputs"][0]["data"] == [1, 2, 3, 4]


def test_compressed_msgpack_and_embeddings(client: Asgi) -> None:
    raw = np.arange(4, dtype="<f4").tobytes()
    row = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": raw}
    body = gzip.compress(msgpack.packb({"inputs": [row]}))
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/msgpack"}
    assert client.ask("POST", INFER, body, headers).status == 200
    body = gzip.compress(json.dumps({"model": "tiny", "input": "w1 w2"}).encode())
    reply = client.ask("POST", "/v1/embeddings", body, {"Content-Encoding": "gzip"})
    assert reply.status == 200


@CODINGS
def test_a_bomb_is_413(coding: str, client: Asgi, state) -> None:
    bomb = ENCODE[coding](bytes(32 * state.settings.body_bytes_max))
    reply = client.ask("POST", INFER, bomb, {"Content-Encoding": coding})
    assert (reply.status, reply.json()["code"]) == (413, "payload_too_large")


@CODINGS
def test_a_broken_body_is_400(coding: str, client: Asgi) -> None:
    reply = client.ask("POST", INFER, b"no", {"Content-Encoding": coding})
    assert (reply.status, reply.json()["field"]) == (400, "Content-Encoding")


@pytest.mark.parametrize("path", [INFER, "/v1/embeddings", "/embed"])
def test_another_coding_is_415_with_those_that_are_read(path: str, client: Asgi) -> None:
    for headers in (
        {"Content-Encoding": "br"},
        {"Content-Encoding": "gzip, gzip"},
        [("Content-Encoding", "gzip"), ("Content-Encoding", "identity")],
    ):
        reply = client.ask("POST", path, b"{}", headers)
        assert (reply.status, reply.headers["accept-encoding"]) == (415, "gzip, deflate, zstd")
    assert client.ask("POST", path, b"{}", {"Content-Encoding": "identity"}).status == 400


@CODINGS
def test_a_large_answer_is_compressed_on_request(coding: str, client: Asgi) -> None:
    body = body_of(4096)
    plain = client.ask("POST", INFER, body)
    assert "content-encoding" not in plain.headers
    assert plain.headers["vary"] == "Accept-Encoding"
    reply = client.ask("POST", INFER, body, {"Accept-Encoding": coding})
    assert (reply.status, reply.headers["content-encoding"]) == (200, coding)
    assert reply.headers["vary"] == "Accept-Encoding"
    assert DECODE[coding](reply.body) == plain.body


def test_the_head_of_a_compressed_binary_answer_is_measured_before(client: Asgi) -> None:
    parameters = {"parameters": {"binary_data_output": True}}
    body = json.dumps({**json.loads(body_of(4096)), **parameters}).encode()
    reply = client.ask("POST", INFER, body, {"Accept-Encoding": "gzip"})
    assert reply.headers["content-encoding"] == "gzip"
    found = gzip.decompress(reply.body)
    length = int(reply.headers["inference-header-content-length"])
    assert json.loads(found[:length])["outputs"][0]["shape"] == [4096, 4]
    assert set(np.frombuffer(found[length:], "<f4")) == {1.5}


def test_small_answers_errors_and_metadata_are_never_compressed(client: Asgi) -> None:
    asked = {"Accept-Encoding": "gzip, deflate"}
    reply = client.ask("POST", INFER, body_of(4), asked)
    assert "content-encoding" not in reply.headers
    assert "vary" not in reply.headers
    for method, path, body in (
        ("GET", "/v2/models/tiny", b""),
        ("GET", "/openapi.json", b""),
        ("POST", INFER, b"[" * 20_000),
    ):
        assert "content-encoding" not in client.ask(method, path, body, asked).headers


def test_embeddings_are_compressed_as_numbers_and_never_as_base64(client: Asgi) -> None:
    asked = {"Accept-Encoding": "gzip"}
    texts = ["w1 w2"] * 200
    for form, coding in (("float", "gzip"), ("base64", None)):
        document = {"model": "tiny", "input": texts, "encoding_format": form}
        reply = client.ask("POST", "/v1/embeddings", json.dumps(document).encode(), asked)
        assert reply.headers.get("content-encoding") == coding


def test_large_ones_are_done_off_the_loop(client: Asgi, monkeypatch) -> None:
    threads = []
    original = _exchange.Decompressor.run

    def run(self, *arguments):
        threads.append(threading.current_thread().name)
        return original(self, *arguments)

    monkeypatch.setattr(_exchange.Decompressor, "run", run)
    values = [n % 9973 for n in range(4 * 40_000)]
    row = {"name": "x", "shape": [40_000, 4], "datatype": "FP32", "data": values}
    body = gzip.compress(json.dumps({"inputs": [row]}).encode())
    assert client.ask("POST", INFER, body, {"Content-Encoding": "gzip"}).status == 200
    assert len(threads) == 2
    assert threads[1].startswith("pelton-codec")
