"""`pelton serve --repository`, with one process and with two, and what the command line does with
it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from python import toys
from python.e2e.served import Served, until
from python.repository.repositories import REQUEST, Repository

pytestmark = pytest.mark.e2e


@pytest.fixture(params=[1, 2], ids=["alone", "workers"])
def workers(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@contextmanager
def serving(workers: int, tmp_path: Path, watch_s: float) -> Iterator[tuple[Served, Repository]]:
    repository = Repository(tmp_path / "repository")
    repository.publish(1)
    repository.break_version(2)
    options = ["--workers", workers, "--threads", 2, "--watch-s", watch_s]
    given = toys.plus_one(tmp_path)
    with Served(given, "--repository", repository.root, *options) as running:
        yield running, repository
        running.process.terminate()
        assert running.wait() == 0


@pytest.fixture
def served(workers: int, tmp_path: Path) -> Iterator[tuple[Served, Repository]]:
    with serving(workers, tmp_path, 0) as found:
        yield found


@pytest.fixture
def watched(workers: int, tmp_path: Path) -> Iterator[tuple[Served, Repository]]:
    with serving(workers, tmp_path, 0.1) as found:
        yield found


def answers(url: str) -> list[tuple[int, str, float]]:
    """Over several connections, so that every worker is asked."""
    found = []
    for _ in range(6):
        reply = httpx.post(f"{url}/v2/models/m/infer", json=REQUEST, timeout=30)
        if reply.status_code != 200:
            found.append((reply.status_code, "", 0.0))
            continue
        document = reply.json()
        found.append((200, document["model_version"], document["outputs"][0]["data"][0]))
    return found


def models(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pelton", "models", *arguments, "--url", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def index(url: str) -> dict[tuple[str, str], str]:
    rows = json.loads(models(url, "list", "--json").stdout)
    return {(row["name"], row["version"]): row["state"] for row in rows}


def test_versions_come_and_go_in_all_processes(served: tuple[Served, Repository]) -> None:
    running, repository = served
    url = running.url
    # The newest that can be loaded; the other is reported.
    assert set(answers(url)) == {(200, "1", 1.0)}
    assert index(url) == {
        ("m", "1"): "READY",
        ("m", "2"): "UNAVAILABLE",
        ("plus_one", "1"): "READY",
    }
    repository.publish(3)
    assert models(url, "load", "m").returncode == 0
    assert set(answers(url)) == {(200, "3", 3.0)}
    # A failure changes nothing, in any process.
    repository.break_version(4)
    failed = models(url, "load", "m")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "expected at least 128, got 8" in failed.stderr
    assert set(answers(url)) == {(200, "3", 3.0)}
    shutil.rmtree(repository.version(4))
    done = models(url, "unload", "m")
    assert (done.returncode, done.stdout.split()[:2]) == (0, ["m", "3"])
    assert {status for status, _, _ in answers(url)} == {404}
    until(lambda: index(url)["m", "3"] == "UNAVAILABLE")
    done = models(url, "load", "m")
    assert (done.returncode, done.stdout) == (0, "m  3  READY\n")
    assert set(answers(url)) == {(200, "3", 3.0)}


class Hammer(threading.Thread):
    """Requests over one connection, each answer checked."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self.stop = threading.Event()
        self.wrong: list[Any] = []
        self.latest = 0

    def run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while not self.stop.is_set():
                reply = client.post("/v2/models/m/infer", json=REQUEST)
                document = reply.json()
                version = int(document.get("model_version", 0))
                if reply.status_code != 200 or set(document["outputs"][0]["data"]) != {version}:
                    self.wrong.append(document)
                    return
                self.latest = version


def test_no_request_is_lost_to_reloads(watched: tuple[Served, Repository]) -> None:
    running, repository = watched
    hammers = [Hammer(running.url) for _ in range(4)]
    for hammer in hammers:
        hammer.start()
    for version in range(3, 9):
        repository.publish(version)
        until(lambda version=version: all(h.latest == version or h.wrong for h in hammers))
    for hammer in hammers:
        hammer.stop.set()
        hammer.join(30)
    assert [hammer.wrong for hammer in hammers] == [[]] * len(hammers)


def test_a_worker_that_is_replaced_serves_what_the_others_do(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    repository.publish(1)
    options = ["--workers", 2, "--threads", 2]
    with Served("--repository", repository.root, *options) as running:
        repository.publish(2)
        assert models(running.url, "load", "m").returncode == 0
        pids = [record["pid"] for record in running.log if "pid" in record]
        subprocess.run(["kill", "-9", str(pids[0])], check=True)
        until(lambda: len([r for r in running.log if "pid" in r]) == 3)
        assert set(answers(running.url)) == {(200, "2", 2.0)}
        assert index(running.url) == {("m", "2"): "READY"}


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_no_repository(workers: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pelton", "serve", "--repository", str(tmp_path / "missing")]
    command += ["--port", "0", "--workers", str(workers), "--threads", "2"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "missing: No such file or directory" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
