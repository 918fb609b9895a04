"""slowhttptest (github.com/shekyan/slowhttptest, Debian's slowhttptest): hundreds of clients that
send their heads or bodies a few bytes at a time, or read their answers so. Others are served."""

from __future__ import annotations

import csv
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from python import toys
from python.e2e.served import Served, until
from python.http.hostile import NATIVE, Reader, infer

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CONNECTIONS = 400
# The tool ends when all its connections are closed, or after so long.
SECONDS = 20
READ_SECONDS = 8
TOOL = "slowhttptest"
MODES = {
    # A further header line a second, never the empty one.
    "heads": ("-H", "-i", "1", "-t", "POST"),
    # Of 8 KiB a few bytes a second.
    "bodies": ("-B", "-i", "1", "-s", "8192", "-x", "10", "-t", "POST"),
    # Ten answers asked for at once, read 32 bytes a second through a small window.
    "reads": ("-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "32", "-k", "10"),
}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    plan = toys.plus_one(tmp_path)
    with Served(f"plus_one={plan}", "--threads", "1", "--head-s-max", "4") as served:
        yield served


class Client(threading.Thread):
    """Requests one after the other on one connection; each is answered right, and soon."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self.stop = threading.Event()
        self.answered = 0
        self.slowest_s = 0.0
        self.failure: str | None = None

    def run(self) -> None:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=30) as sock:
                reader = Reader(sock)
                while not self.stop.wait(0.002):
                    started = time.monotonic()
                    sock.sendall(infer(NATIVE, self.answered % 1000))
                    data = reader.answer().json()["outputs"][0]["data"]
                    assert data == [self.answered % 1000 + 1.0] * toys.WIDTH
                    self.slowest_s = max(self.slowest_s, time.monotonic() - started)
                    self.answered += 1
        except Exception as error:
            self.failure = repr(error)


@pytest.mark.parametrize("mode", MODES)
def test_others_are_served(mode: str, served: Served, tmp_path: Path) -> None:
    tool = shutil.which(TOOL)
    assert tool is not None, f"{TOOL} is not here: make {TOOL}, or apt-get install {TOOL}"
    path, seconds_max = ("/openapi.json", READ_SECONDS) if mode == "reads" else (NATIVE, SECONDS)
    command = [tool, *MODES[mode], "-u", served.url + path, "-c", str(CONNECTIONS), "-r", "200"]
    command += ["-l", str(seconds_max), "-p", "5", "-g", "-o", str(tmp_path / "slow")]
    client = Client(served.port)
    client.start()
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
    )
    client.stop.set()
    client.join(60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert client.failure is None
    assert client.answered > 100
    assert client.slowest_s < 2
    with (tmp_path / "slow.csv").open() as file:
        seconds = list(csv.reader(file))[1:]
    # Second, closed, pending, connected, and whether the tool's own probe was answered.
    assert max(int(row[3]) for row in seconds) > CONNECTIONS // 2, "it did not come to an attack"
    assert all(int(row[4]) > 0 for row in seconds), f"the probe got no answer: {seconds}"
    if mode != "reads":  # the server gives them up
        assert "No open connections left" in done.stdout
    until(lambda: served.metric("pelton_connections") <= 2)
    assert served.metric("pelton_requests_in_flight") == 1
