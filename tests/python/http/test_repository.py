"""The repository over HTTP: versions that come and go while requests are answered."""

from __future__ import annotations

import gc
import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from pelton import Client
from pelton.app import Server
from pelton.errors import AlreadyExists, Error, InvalidInput, ModelNotFound
from pelton.http import loading, orders
from pelton.model import Model
from pelton.settings import Settings
from python import toys
from python.http.hostile import until
from python.repository.repositories import REQUEST, Repository

INFER = "/v2/models/m/infer"


class Here:
    """A server of a repository, and a client."""

    def __init__(self, server: Server, repository: Repository) -> None:
        self.server = server
        self.repository = repository
        self.state = server._state
        self.http = httpx.Client(base_url=server.url, timeout=30)

    def load(self, name: str = "m", **more: Any) -> httpx.Response:
        return self.http.post(f"/v2/repository/models/{name}/load", **more)

    def unload(self, name: str = "m", **more: Any) -> httpx.Response:
        return self.http.post(f"/v2/repository/models/{name}/unload", **more)

    def index(self, **more: Any) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.http.post("/v2/repository/index", **more).json()
        return found

    def answer(self, version: int | None = None) -> tuple[str, float]:
        """The version that answered and what it added."""
        path = INFER if version is None else f"/v2/models/m/versions/{version}/infer"
        return self.read(self.http.post(path, json=REQUEST))

    @staticmethod
    def read(reply: httpx.Response) -> tuple[str, float]:
        assert reply.status_code == 200, reply.text
        document = reply.json()
        (added,) = set(document["outputs"][0]["data"])
        return document["model_version"], added

    def settle(self) -> None:
        """Until nothing is being loaded or closed."""
        assert self.state.loading is not None
        until(lambda: self.state.loading.is_settled)


@contextmanager
def serving(root: Path, models: dict[str, Model] | None = None, **changes: Any) -> Iterator[Here]:
    repository = Repository(root)
    settings = Settings(
        threads=1, repository=str(root), cache_dir=str(root / ".cache"), drain_s_max=5, **changes
    )
    with Server(models or {}, port=0, settings=settings) as server:
        here = Here(server, repository)
        with here.http:
            yield here


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    Repository(tmp_path).publish(1)
    with serving(tmp_path) as found:
        yield found


def test_what_is_there_is_served_from_the_start(here: Here) -> None:
    assert here.answer() == here.answer(1) == ("1", 1)
    assert here.index() == [{"name": "m", "version": "1", "state": "READY"}]
    assert here.http.get("/v2/health/ready").status_code == 200


def test_the_extension_is_listed_where_there_is_a_repository(here: Here, client: Any) -> None:
    assert "model_repository" in here.http.get("/v2").json()["extensions"]
    assert "model_repository" not in client.ask("GET", "/v2").json()["extensions"]


def test_the_latest_version_takes_the_place_of_the_one_before(here: Here) -> None:
    here.repository.publish(2)
    assert here.answer() == ("1", 1)  # nobody has asked for it
    reply = here.load()
    assert (reply.status_code, reply.content) == (200, b"")
    assert here.answer() == ("2", 2)
    gone = here.http.post("/v2/models/m/versions/1/infer", json=REQUEST)
    assert (gone.status_code, gone.json()["code"]) == (404, "model_not_found")
    assert "its version is 2" in gone.json()["error"]
    here.settle()
    assert here.index() == [{"name": "m", "version": "2", "state": "READY"}]


def test_several_versions_at_once(here: Here) -> None:
    here.repository.publish(2)
    here.repository.publish(10)
    here.repository.settings('versions = "all"')
    assert here.load().status_code == 200
    assert [here.answer(version) for version in (1, 2, 10)] == [("1", 1), ("2", 2), ("10", 10)]
    assert here.answer() == ("10", 10)
    metadata = here.http.get("/v2/models/m").json()
    assert metadata["versions"] == ["10", "2", "1"]
    assert here.http.get("/v2/models/m/versions/2").json()["versions"] == ["2"]
    assert here.http.get("/v2/models/m/versions/2/ready").status_code == 200
    stats = here.http.get("/v2/models/m/stats").json()["model_stats"]
    assert {one["version"]: one["inference_stats"]["success"]["count"] for one in stats} == {
        # One more each: the request that warmed it up.
        "10": 3,
        "2": 2,
        "1": 2,
    }
    (one,) = here.http.get("/v2/models/m/versions/2/stats").json()["model_stats"]
    assert one["version"] == "2"
    text = here.http.get("/metrics").text
    assert 'pelton_requests_total{model="m",outcome="ok",version="10"} 3.0' in text
    wrong = here.http.post("/v2/models/m/versions/3/infer", json=REQUEST)
    assert "its versions are 10, 2, 1" in wrong.json()["error"]
    # Fewer again; those that stay have not been loaded anew.
    before = {model.version: model for _, model in here.state.table.all()}
    shutil.rmtree(here.repository.version(2))
    assert here.load().status_code == 200
    after = {model.version: model for _, model in here.state.table.all()}
    assert after == {version: before[version] for version in ("10", "1")}


def test_versions_are_found_alike_on_both_paths(here: Here) -> None:
    here.repository.publish(2)
    here.repository.settings("versions = [1, 2]")
    assert here.load().status_code == 200
    for version in ("1", "2", "3"):
        path = f"/v2/models/m/versions/{version}/infer"
        native = here.http.post(path, json=REQUEST)
        # What names a query is the Python path's.
        python = here.http.post(path + "?x=1", json=REQUEST)
        assert native.status_code == python.status_code
        ours, theirs = native.json(), python.json()
        for members in (ours, theirs):
            members.pop("request_id", None)
        assert ours == theirs


def test_loading_again_what_has_not_changed_does_nothing(here: Here) -> None:
    (before,) = here.state.table.versions("m")
    assert here.load().status_code == 200
    assert here.state.table.versions("m") == (before,)


def test_a_version_that_was_written_again_is_loaded_again(here: Here) -> None:
    old = here.repository.version(1)
    old.rename(old.with_name("old.tmp"))
    here.repository.publish(1, adds=7)
    assert here.load().status_code == 200
    assert here.answer() == ("1", 7)
    here.settle()


def test_a_load_that_fails_leaves_what_was_served(here: Here) -> None:
    here.repository.break_version(2)
    reply = here.load()
    assert (reply.status_code, reply.json()["code"]) == (500, "corrupt_plan")
    assert here.answer() == ("1", 1)
    ready, failed = here.index()
    assert ready == {"name": "m", "version": "1", "state": "READY"}
    assert (failed["version"], failed["state"]) == ("2", "UNAVAILABLE")
    assert "expected at least 128, got 8" in failed["reason"]
    assert str(here.repository.root) not in failed["reason"]
    assert here.index(json={"ready": True}) == [ready]
    # Its successor makes good for it.
    here.repository.publish(3)
    assert here.load().status_code == 200
    here.settle()
    assert here.index() == [{"name": "m", "version": "3", "state": "READY"}]


def test_all_versions_are_loaded_or_none(here: Here) -> None:
    here.repository.publish(2)
    here.repository.break_version(3)
    here.repository.settings('versions = "all"')
    assert here.load().status_code == 500
    assert [model.version for model in here.state.table.versions("m")] == ["1"]
    here.settle()
    assert here.answer() == ("1", 1)


def test_wrong_settings_are_an_error_with_their_line(here: Here) -> None:
    here.repository.settings("\nversion = 1\n")
    reply = here.load()
    assert reply.status_code == 400
    assert "model.toml:2: unknown key 'version'; the nearest is 'versions'" in reply.json()["error"]
    assert here.answer() == ("1", 1)
    assert {row.get("version"): row.get("reason", "") for row in here.index()}[None].startswith(
        "m/model.toml:2: "
    )
    here.repository.settings("")
    assert here.load().status_code == 200
    assert [row["state"] for row in here.index()] == ["READY"]


def test_the_newest_version_that_loads_is_served_at_the_start(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.publish(1)
    repository.publish(2)
    repository.break_version(3)
    repository.break_version(1, "never")
    with serving(tmp_path) as here:
        assert here.answer() == ("2", 2)
        rows = {(row["name"], row["version"]): row["state"] for row in here.index()}
        assert rows == {
            ("m", "2"): "READY",
            ("m", "3"): "UNAVAILABLE",
            ("never", "1"): "UNAVAILABLE",
        }


def test_unload(here: Here) -> None:
    reply = here.unload(json={"parameters": {"unload_dependents": True}})
    assert (reply.status_code, reply.content) == (200, b"")
    reply = here.http.post(INFER, json=REQUEST)
    assert (reply.status_code, reply.json()["error"]) == (404, "there is no model 'm'")
    here.settle()
    assert here.index() == [
        {"name": "m", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"}
    ]
    assert here.unload().status_code == 404
    assert here.load().status_code == 200
    assert here.answer() == ("1", 1)


def test_what_a_call_cannot_do(here: Here) -> None:
    for parameters in ({"config": "{}"}, {"file:1/model.plan": "AAAA"}):
        reply = here.load(json={"parameters": parameters})
        assert (reply.status_code, reply.json()["code"]) == (501, "not_implemented")
    for name in ("other", "..", "%2e%2e", "..%2fm", "m%2f1"):
        assert here.load(name).status_code == 404
    assert here.load(content=b"{").status_code == 400
    assert here.load(json={"parameters": []}).status_code == 400
    assert here.unload(json={"parameters": {"unload_dependents": 1}}).status_code == 400
    assert here.index(json=None) == here.index(content=b"{}")
    assert here.http.post("/v2/repository/index", json={"ready": 1}).status_code == 400
    assert here.http.get("/v2/repository/index").status_code == 405
    assert here.answer() == ("1", 1)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"host": "evil.example"},
        {"x-forwarded-for": "127.0.0.1"},
    ],
)
def test_management_is_for_this_host(headers: dict[str, str], here: Here) -> None:
    for verb in (here.load, here.unload):
        reply = verb(headers=headers)
        assert (reply.status_code, reply.json()["code"]) == (403, "forbidden")
    assert here.http.post("/v2/repository/index").status_code == 200


def test_a_server_for_other_hosts_has_no_management(tmp_path: Path) -> None:
    Repository(tmp_path).publish(1)
    settings = Settings(threads=1, repository=str(tmp_path), host="0.0.0.0")
    with Server({}, port=0, settings=settings) as server:
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        assert httpx.post(f"{url}/v2/repository/models/m/load").status_code == 403


def test_without_a_repository(client: Any) -> None:
    rows = client.ask("POST", "/v2/repository/index").json()
    assert {"name": "tiny", "version": "1", "state": "READY"} in rows
    for verb in ("load", "unload"):
        reply = client.ask("POST", f"/v2/repository/models/tiny/{verb}", host="localhost")
        assert reply.status == 501


def test_models_that_were_given_are_not_the_repositorys(tmp_path: Path) -> None:
    given = toys.load_plan(toys.plus_one(tmp_path), Settings(threads=1))
    root = tmp_path / "repository"
    Repository(root).publish(2)
    with given, serving(root, {"other": given}) as here:
        assert here.answer() == ("2", 2)
        here.repository.publish(1, "other")
        assert here.load("other").status_code == 409
        assert here.unload("other").status_code == 404
        assert here.http.post("/v2/models/other/infer", json=REQUEST).status_code == 200


def test_settings_of_a_model(here: Here) -> None:
    (here.repository.root / "m" / "labels.txt").write_text("a\nb\nc\nd\n")
    np.savez(here.repository.root / "m" / "warm.npz", x=np.zeros((3, 4), np.float32))
    here.repository.settings(
        'labels = "labels.txt"\n[limits]\nbatch_rows_max = 2\n[warmup]\ninput = "warm.npz"\n'
    )
    assert here.load().status_code == 200
    (model,) = here.state.table.versions("m")
    assert model.labels == ("a", "b", "c", "d")
    assert model.snapshot().engine.batch_rows.total == 3
    assert model.stats()["batches"] == 2
    document = {**REQUEST, "outputs": [{"name": "y", "parameters": {"classification": 1}}]}
    reply = here.http.post(INFER, json=document).json()
    assert reply["outputs"][0]["data"] == ["1.000000:0:a"]


def test_non_finite_values_where_a_model_takes_them(here: Here) -> None:
    data = [float("nan"), float("inf"), 1.0, 2.0]
    inputs = [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": data}]
    body = json.dumps({"inputs": inputs}).encode()
    for path in (INFER, INFER + "?python=1"):
        assert here.http.post(path, content=body).status_code == 400
    here.repository.settings("allow_non_finite = true\n")
    assert here.load().status_code == 200
    for path in (INFER, INFER + "?python=1"):
        (output,) = json.loads(here.http.post(path, content=body).text)["outputs"]
        assert np.array_equal(output["data"], [np.nan, np.inf, 2.0, 3.0], equal_nan=True)


def test_the_compiler_runs_at_the_lowest_priority(tmp_path: Path) -> None:
    process = orders._start_compiler(str(tmp_path), Settings(threads=1))
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == 19
    process.kill()
    process.communicate()


def test_a_request_that_does_not_warm_it_up_fails_the_load(here: Here) -> None:
    np.savez(here.repository.root / "m" / "warm.npz", x=np.zeros((3, 5), np.float32))
    here.repository.settings('[warmup]\ninput = "warm.npz"\n')
    here.repository.publish(2)
    reply = here.load()
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_input")
    assert here.answer() == ("1", 1)


def test_what_is_under_way_ends_on_its_version(here: Here) -> None:
    """The head comes, then another version, then the body."""
    body = json.dumps(REQUEST).encode()
    host, port = here.server.url.removeprefix("http://").split(":")
    socks = []
    for path in (INFER, INFER + "?python=1"):
        sock = socket.create_connection((host, int(port)), timeout=30)
        head = f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
        accepted = here.state.accepted
        sock.sendall(head.encode() + body[:-1])
        until(lambda accepted=accepted: here.state.accepted == accepted + 1)
        socks.append(sock)
    here.repository.publish(2)
    assert here.load().status_code == 200
    assert here.answer() == ("2", 2)
    assert not here.state.loading.is_settled
    rows = {row["version"]: row["state"] for row in here.index()}
    assert rows == {"1": "UNLOADING", "2": "READY"}
    for sock in socks:
        with sock:
            sock.sendall(body[-1:])
            received = sock.recv(65536)
        assert b" 200 " in received
        assert b'"model_version":"1"' in received.replace(b" ", b"")
    here.settle()


class Hammer(threading.Thread):
    """Sends one request after the other and checks every answer."""

    def __init__(self, url: str, path: str) -> None:
        super().__init__(daemon=True)
        self._url, self._path = url, path
        self.stop = threading.Event()
        self.failure: str | None = None
        self.versions: list[str] = []

    def run(self) -> None:
        rows = 3
        document = {
            "inputs": [
                {"name": "x", "datatype": "FP32", "shape": [rows, 4], "data": [0.0] * 4 * rows}
            ]
        }
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while not self.stop.is_set() and self.failure is None:
                reply = client.post(self._path, json=document)
                if reply.status_code != 200:
                    self.failure = reply.text
                    return
                answer = reply.json()
                self.versions.append(answer["model_version"])
                if set(answer["outputs"][0]["data"]) != {float(answer["model_version"])}:
                    self.failure = f"mixed: {answer}"


@pytest.mark.parametrize("path", [INFER, INFER + "?python=1"], ids=["native", "python"])
def test_no_request_is_lost_to_reloads(path: str, here: Here) -> None:
    hammers = [Hammer(here.server.url, path) for _ in range(2)]
    for hammer in hammers:
        hammer.start()
    try:
        for version in range(2, 12):
            here.repository.publish(version)
            assert here.load().status_code == 200
            seen = [len(hammer.versions) for hammer in hammers]
            until(
                lambda seen=seen: all(
                    hammer.failure or len(hammer.versions) > count + 2
                    for hammer, count in zip(hammers, seen, strict=True)
                )
            )
    finally:
        for hammer in hammers:
            hammer.stop.set()
            hammer.join(30)
    for hammer in hammers:
        assert hammer.failure is None
        numbers = [int(version) for version in hammer.versions]
        assert numbers == sorted(numbers), "an older version answered after a newer one"
        assert numbers[-1] == 11
    here.settle()


STEPS = ("make_order", "find_artefact", "load", "warm_up", "replace")


@contextmanager
def failing(step: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One step of a load raises."""

    def fail(*_: Any, **__: Any) -> Any:
        raise InvalidInput(f"injected: {step}")

    with monkeypatch.context() as patch:
        if step in ("load", "warm_up"):
            patch.setattr(loading, step, fail)
        elif step == "replace":
            # After it was loaded and warmed up.
            patch.setattr(loading.Loading, "_serve", fail)
        else:
            patch.setattr(f"pelton.http.orders.{step}", fail)
        yield


@pytest.mark.parametrize("step", STEPS)
def test_a_failure_at_any_step_leaves_what_was_served(
    step: str, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.repository.publish(2)
    (before,) = here.state.table.versions("m")
    with failing(step, monkeypatch):
        reply = here.load()
    assert (reply.status_code, f"injected: {step}" in reply.json()["error"]) == (400, True)
    assert here.state.table.versions("m") == (before,)
    assert here.answer() == ("1", 1)
    here.settle()
    assert f"injected: {step}" in " ".join(row.get("reason", "") for row in here.index())
    assert here.load().status_code == 200
    assert here.answer() == ("2", 2)


def test_a_bug_in_loading_leaves_what_was_served(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("injected")

    here.repository.publish(2)
    with monkeypatch.context() as patch:
        patch.setattr(loading, "warm_up", fail)
        reply = here.load()
    assert (reply.status_code, reply.json()["code"]) == (500, "internal")
    assert here.answer() == ("1", 1)
    here.settle()
    assert "ZeroDivisionError" in here.index()[1]["reason"]


def test_a_repository_that_is_away_for_a_time_is_watched_on(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    Repository(root).publish(1)
    with serving(root, watch_s=0.02) as here, httpx.Client() as client:
        away = root.rename(tmp_path / "away")
        index = f"{here.server.url}/v2/repository/index"
        until(lambda: client.post(index).status_code == 503)
        assert here.answer() == ("1", 1)
        Repository(away).publish(2)
        away.rename(root)
        until(lambda: here.answer() == ("2", 2))


def cycle(here: Here, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Loads, reloads and unloads; every third with a failure at one of the steps."""
    for at in range(count):
        if at % 3 == 2:
            step = STEPS[(at // 3) % len(STEPS)]
            here.repository.publish(100_000 + at)
            with failing(step, monkeypatch):
                assert here.load().status_code == 400
            shutil.rmtree(here.repository.version(100_000 + at))
        assert here.load().status_code == 200
        assert here.answer() == ("1", 1)
        assert here.unload().status_code == 200
        here.settle()
    gc.collect()


def live_things(here: Here) -> tuple[int, int, int]:
    """Models, mapped plans and open files of this process."""
    assert threading.active_count() < 32  # pools grow to a bound
    maps = Path("/proc/self/maps").read_text()
    return (
        sum(isinstance(found, Model) for found in gc.get_objects()),
        maps.count(str(here.repository.root)),
        len(os.listdir("/proc/self/fd")),
    )


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_load_and_unload_leave_nothing(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    cycle(here, monkeypatch, 6)
    before = live_things(here)
    cycle(here, monkeypatch, 15)
    assert live_things(here) == before


@pytest.mark.slow
def test_memory_is_flat_over_200_cycles(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    cycle(here, monkeypatch, 100)
    before, resident = live_things(here), resident_bytes()
    cycle(here, monkeypatch, 200)
    assert live_things(here) == before
    assert resident_bytes() - resident < 2 << 20


def test_a_watched_repository(tmp_path: Path) -> None:
    Repository(tmp_path).publish(1)
    with serving(tmp_path, watch_s=0.05) as here:
        repository = here.repository
        assert here.answer() == ("1", 1)
        repository.publish(2)
        until(lambda: here.answer() == ("2", 2))
        # A new model, too.
        repository.publish(5, "n")
        until(lambda: here.http.get("/v2/models/n").status_code == 200)
        # One that cannot be loaded is reported, once, and served is what was.
        repository.break_version(3)
        until(lambda: any(row.get("version") == "3" for row in here.index()))
        assert here.answer() == ("2", 2)
        # Its folder goes, and so does what was said of it.
        shutil.rmtree(repository.version(3))
        shutil.rmtree(repository.version(2))
        until(lambda: here.answer() == ("1", 1))
        shutil.rmtree(repository.root / "n")
        until(lambda: here.http.get("/v2/models/n").status_code == 404)
        until(lambda: [row["name"] for row in here.index()] == ["m"])


def test_an_encoder_is_compiled_in_a_process_of_its_own(tmp_path: Path) -> None:
    with serving(tmp_path / "repository") as here:
        folder = toys.tiny_encoder(tmp_path)
        shutil.copytree(folder, here.repository.root / "text" / "1")
        assert here.load("text").status_code == 200
        with Client(here.server.url) as client:
            assert client.embed("text", ["the a"]).shape == (1, 24)
            (entry,) = client.index()
            assert (entry.name, entry.version, entry.state) == ("text", "1", "READY")
            # And what it says of one that is none.
            (here.repository.root / "text" / "2").mkdir()
            for name in ("config.json", "model.safetensors", "tokenizer.json"):
                (here.repository.root / "text" / "2" / name).write_text("{")
            with pytest.raises(Error) as raised:
                client.load("text")
            assert "config.json" in raised.value.message
            assert [e.state for e in client.index()] == ["READY", "UNAVAILABLE"]
            client.unload("text")
            with pytest.raises(ModelNotFound):
                client.unload("text")


def test_an_order_for_a_name_that_is_taken_raises(tmp_path: Path) -> None:
    given = toys.load_plan(toys.plus_one(tmp_path), Settings(threads=1))
    with given, serving(tmp_path / "repository", {"m": given}) as here:
        here.repository.publish(1)
        with Client(here.server.url) as client, pytest.raises(AlreadyExists):
            client.load("m")
