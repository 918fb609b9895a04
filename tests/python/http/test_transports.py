"""The native path over what is not a plain TCP socket: TLS, where it sees decrypted bytes, and unix
sockets. (A proxy in front is a client like any other.)"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import pelton
from pelton.settings import Settings
from python import toys

LIMIT_S = 20.0
BODY = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1.0] * 4}]}
).encode()
INFER = b"POST /v2/models/add/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)
READY = b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[pelton.Server]:
    settings = Settings(threads=1, cache_dir=str(tmp_path))
    with (
        pelton.load(toys.plus_one(tmp_path), settings=settings) as model,
        pelton.Server({"add": model}, port=0, settings=settings) as server,
    ):
        yield server


def listen(server: pelton.Server, sock: socket.socket, **options: object) -> None:
    """One more listening socket for the server's connections."""
    loop, serving = server._loop, server._serving
    assert loop is not None
    assert serving is not None

    async def start() -> None:
        serving.servers.append(
            await loop.create_server(serving._new_protocol, sock=sock, **options)
            if sock.family == socket.AF_INET
            else await loop.create_unix_server(serving._new_protocol, sock=sock)
        )

    asyncio.run_coroutine_threadsafe(start(), loop).result(LIMIT_S)


def answers(sock: socket.socket, count: int) -> bytes:
    text = b""
    while text.count(b"HTTP/1.1 200 OK") < count or not text.endswith((b"}",)):
        part = sock.recv(65536)
        assert part, text
        text += part
    return text


def exchange(sock: socket.socket) -> None:
    sock.settimeout(LIMIT_S)
    # Native, Python's, native again, pipelined: in order on one connection.
    sock.sendall(INFER + READY + INFER)
    text = answers(sock, 3)
    data = b'"data":[2.0,2.0,2.0,2.0]'
    assert text.index(data) < text.index(b'"ready":true') < text.rindex(data)


def test_unix_sockets(server: pelton.Server, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listen(server, listener)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        exchange(client)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_tls(server: pelton.Server, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listen(server, listener, ssl=context)
    trusting = ssl.create_default_context(cafile=str(certificate))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as plain,
        trusting.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        exchange(client)
