"""System shared memory: registering, who may, and requests whose tensors lie there."""

from __future__ import annotations

import gc
import json
import os
from dataclasses import replace
from multiprocessing import shared_memory
from pathlib import Path

import numpy as np
import pytest

from pelton.errors import AlreadyExists, InvalidInput, QueueFull
from pelton.http import Application, ServerState, _management
from pelton.http._regions import Regions
from python.http.asgi import Asgi

BASE = "/v2/systemsharedmemory"
INFER = "/v2/models/plus_one/infer"
LOCAL = {"host": "localhost:8000"}


@pytest.fixture
def memory():
    """An object of 64 bytes: 16 numbers."""
    found = shared_memory.SharedMemory(create=True, size=64)
    yield found
    found.close()
    found.unlink()


@pytest.fixture
def on(toy_models, settings, monkeypatch):
    """A client of a server with shared memory, as a process of its own user."""
    monkeypatch.setattr(_management, "peer_uid", lambda sock: os.geteuid())
    state = ServerState(toy_models, replace(settings, shared_memory="on"))
    client = Asgi(Application(state))
    yield client
    client.close()
    state.close()


def register(client: Asgi, memory, name: str = "r", **changes: object):
    document = {"key": memory.name, "offset": 0, "byte_size": 64, **changes}
    path = f"{BASE}/region/{name}/register"
    return client.ask("POST", path, json.dumps(document).encode(), **LOCAL)


def infer(client: Asgi, place: dict[str, object], output: dict[str, object] | None = None):
    row = {"name": "x", "shape": [2, 4], "datatype": "FP32", "parameters": place}
    document: dict[str, object] = {"inputs": [row]}
    if output is not None:
        document["outputs"] = [{"name": "y", "parameters": output}]
    return client.ask("POST", INFER, json.dumps(document).encode(), **LOCAL)


def at(offset: int, size: int, region: str = "r") -> dict[str, object]:
    return {
        "shared_memory_region": region,
        "shared_memory_byte_size": size,
        "shared_memory_offset": offset,
    }


def test_it_is_listed_only_where_it_is_on(on: Asgi, client: Asgi) -> None:
    assert "system_shared_memory" in on.ask("GET", "/v2").json()["extensions"]
    assert "system_shared_memory" not in client.ask("GET", "/v2").json()["extensions"]


def test_register_status_unregister(on: Asgi, memory) -> None:
    assert register(on, memory, "a").status == 200
    assert register(on, memory, "b", offset=16, byte_size=8).status == 200
    rows = on.ask("GET", f"{BASE}/status", **LOCAL).json()
    assert rows == [
        {"name": "a", "key": memory.name, "offset": 0, "byte_size": 64},
        {"name": "b", "key": memory.name, "offset": 16, "byte_size": 8},
    ]
    assert on.ask("GET", f"{BASE}/region/b/status", **LOCAL).json() == rows[1:]
    assert on.ask("GET", f"{BASE}/region/c/status", **LOCAL).status == 400
    assert on.ask("POST", f"{BASE}/region/a/unregister", **LOCAL).status == 200
    assert on.ask("POST", f"{BASE}/region/a/unregister", **LOCAL).status == 200
    assert on.ask("GET", f"{BASE}/status", **LOCAL).json() == rows[1:]
    assert on.ask("POST", f"{BASE}/unregister", **LOCAL).status == 200
    assert on.ask("GET", f"{BASE}/status", **LOCAL).json() == []


def test_a_name_in_use_is_409(on: Asgi, memory) -> None:
    assert register(on, memory).status == 200
    reply = register(on, memory)
    assert (reply.status, reply.json()["code"]) == (409, "already_exists")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"byte_size": 65}, "byte_size"),
        ({"byte_size": 0}, "byte_size"),
        ({"byte_size": 2**63 - 1}, "byte_size"),
        ({"byte_size": 2**62, "offset": 2**62}, "offset"),
        ({"offset": 1}, "byte_size"),
        ({"offset": -1}, "offset"),
        ({"offset": 2**63 - 1}, "offset"),
        ({"key": ""}, "key"),
        ({"key": None}, "key"),
        ({"key": "a/b"}, "key"),
        ({"key": "../shm"}, "key"),
        ({"key": ".."}, "key"),
        ({"key": "a\0b"}, "key"),
        ({"key": "none-of-this-name"}, "key"),
        ({"key": "triton_python_backend_shm_region_1"}, "key"),
        ({"key": "x" * 256}, "key"),
    ],
)
def test_what_is_no_region_is_named(changes, field: str, on: Asgi, memory) -> None:
    reply = register(on, memory, **changes)
    assert (reply.status, reply.json()["field"]) == (400, field)
    assert on.ask("GET", f"{BASE}/status", **LOCAL).json() == []


def test_a_key_may_have_the_slash_of_shm_open(on: Asgi, memory) -> None:
    assert register(on, memory, key=f"/{memory.name}").status == 200


def test_inputs_and_outputs(on: Asgi, memory) -> None:
    values = np.ndarray((2, 8), np.float32, memory.buf)
    values[:] = np.arange(16).reshape(2, 8)
    register(on, memory)
    reply = infer(on, at(0, 32), at(32, 32))
    assert reply.status == 200
    assert reply.json()["outputs"] == [
        {"name": "y", "shape": [2, 4], "datatype": "FP32", "parameters": at(32, 32)}
    ]
    assert values[1].tolist() == [value + 1 for value in range(8)]
    reply = infer(on, at(0, 32))
    assert reply.json()["outputs"][0]["data"] == [value + 1 for value in range(8)]
    # A place that is larger than the output is not filled, and the answer says how far it is.
    reply = infer(on, at(0, 32), at(16, 48))
    assert reply.json()["outputs"][0]["parameters"] == at(16, 32)
    del values


@pytest.mark.parametrize(
    ("place", "output", "field"),
    [
        (at(0, 32, "none"), None, "shared_memory_region"),
        (at(33, 32), None, "shared_memory_region"),
        (at(0, 65), None, "shared_memory_region"),
        (at(0, 16), None, "parameters.shared_memory_byte_size"),
        (at(0, 32), at(0, 16), "shared_memory_byte_size"),
        (at(0, 32), at(40, 32), "shared_memory_region"),
        (at(0, 32), at(0, 32, "none"), "shared_memory_region"),
    ],
)
def test_a_place_that_does_not_fit_is_400(place, output, field: str, on: Asgi, memory) -> None:
    register(on, memory)
    before = bytes(memory.buf)
    reply = infer(on, place, output)
    assert (reply.status, reply.json()["field"]) == (400, field)
    assert bytes(memory.buf) == before


def test_it_is_501_where_it_is_off(client: Asgi) -> None:
    for reply in (infer(client, at(0, 32)), client.ask("GET", f"{BASE}/status", **LOCAL)):
        assert (reply.status, reply.json()["code"]) == (501, "not_implemented")


def test_inputs_are_bounded_as_bodies_are(on: Asgi, settings) -> None:
    size = settings.body_bytes_max // 2 + 4
    memory = shared_memory.SharedMemory(create=True, size=size)
    try:
        register(on, memory, byte_size=size)
        reply = infer(on, at(0, size))
        assert reply.status == 400  # the shape says 32 bytes
        document = {"shape": [1, 4], "datatype": "FP32", "parameters": at(0, size)}
        inputs = [{"name": name, **document} for name in ("a", "b")]
        body = json.dumps({"inputs": inputs}).encode()
        assert on.ask("POST", "/v2/models/two/infer", body, **LOCAL).status == 413
    finally:
        memory.close()
        memory.unlink()


def test_an_object_that_shrinks_is_an_error_and_no_signal(on: Asgi, memory) -> None:
    register(on, memory)
    os.truncate(f"/dev/shm/{memory.name}", 8)
    reply = infer(on, at(0, 32))
    assert (reply.status, "has shrunk" in reply.json()["error"]) == (400, True)
    os.truncate(f"/dev/shm/{memory.name}", 32)
    reply = infer(on, at(0, 32), at(32, 32))
    assert (reply.status, "has shrunk" in reply.json()["error"]) == (400, True)
    assert os.stat(f"/dev/shm/{memory.name}").st_size == 32, "the object was made longer"
    os.truncate(f"/dev/shm/{memory.name}", 64)


@pytest.mark.parametrize(
    ("headers", "host"),
    [
        ({}, "example.com"),
        ({}, "127.0.0.1.example.com"),
        ({}, "localhost@example.com"),
        ({"Origin": "https://example.com"}, "localhost"),
        ({"Origin": "null"}, "localhost"),
        ({"X-Forwarded-For": "1.2.3.4"}, "localhost"),
    ],
)
def test_only_this_host_may(headers, host: str, on: Asgi, memory) -> None:
    register(on, memory)
    for method, path in (("GET", f"{BASE}/status"), ("POST", f"{BASE}/unregister")):
        reply = on.ask(method, path, b"", headers, host=host)
        assert (reply.status, reply.json()["code"]) == (403, "forbidden")
    assert len(on.ask("GET", f"{BASE}/status", **LOCAL).json()) == 1


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:8000"])
def test_local_names_are_fine(host: str, on: Asgi) -> None:
    headers = {"Origin": f"http://{host}"}
    assert on.ask("GET", f"{BASE}/status", b"", headers, host=host).status == 200


@pytest.mark.parametrize("uid", [None, 12345])
def test_only_the_servers_user_may(uid, on: Asgi, memory, monkeypatch) -> None:
    register(on, memory)
    monkeypatch.setattr(_management, "peer_uid", lambda sock: uid)
    assert on.ask("GET", f"{BASE}/status", **LOCAL).status == 403
    assert infer(on, at(0, 32)).status == 403


def test_a_server_for_other_hosts_has_it_off(toy_models, settings, monkeypatch) -> None:
    monkeypatch.setattr(_management, "peer_uid", lambda sock: os.geteuid())
    state = ServerState(toy_models, replace(settings, shared_memory="on", host="0.0.0.0"))
    client = Asgi(Application(state))
    assert client.ask("GET", f"{BASE}/status", **LOCAL).status == 403
    client.close()
    state.close()


def test_the_table_has_a_bound(tmp_path: Path) -> None:
    (tmp_path / "object").write_bytes(bytes(8))
    regions = Regions(str(tmp_path))
    for index in range(256):
        regions.register(str(index), "object", 0, 8)
    with pytest.raises(QueueFull):
        regions.register("256", "object", 0, 8)
    with pytest.raises(AlreadyExists):
        regions.register("0", "object", 0, 8)


def is_open(path: Path) -> bool:
    """Whether this process has a descriptor of the file."""
    return any(link.exists() and link.samefile(path) for link in Path("/proc/self/fd").iterdir())


def test_a_region_in_use_outlives_its_name(tmp_path: Path) -> None:
    (tmp_path / "object").write_bytes(b"12345678")
    regions = Regions(str(tmp_path))
    regions.register("r", "object", 2, 4)
    pinned = regions.region("r")
    regions.unregister("r")
    assert bytes(pinned.read(1, 3)) == b"456"
    pinned.write(0, b"ab")
    assert (tmp_path / "object").read_bytes() == b"12ab5678"
    assert is_open(tmp_path / "object")
    del pinned
    gc.collect()
    assert not is_open(tmp_path / "object")


def test_what_is_no_plain_object_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(bytes(8))
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    regions = Regions(str(tmp_path))
    for name in ("link", "pipe", "folder"):
        with pytest.raises(InvalidInput):
            regions.register("r", name, 0, 8)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_an_object_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "object").write_bytes(bytes(8))
    os.chown(tmp_path / "object", 12345, 12345)
    with pytest.raises(InvalidInput, match="of the user that runs this server"):
        Regions(str(tmp_path)).register("r", "object", 0, 8)
