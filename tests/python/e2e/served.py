"""A `pelton serve` process for tests, and what the system says of it."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import httpx

START_S_MAX = 120.0
END_S_MAX = 60.0


class Served:
    """Starts `pelton serve` with `arguments` on a free port, waits until it listens; a context
    manager that ends it. Its log is JSON lines."""

    def __init__(self, *arguments: str | Path) -> None:
        command = [sys.executable, "-m", "pelton", "serve", *map(str, arguments)]
        command += ["--port", "0", "--log-format", "json"]
        # A group of its own: a Ctrl-C in the test run is not its business.
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.log: list[dict[str, object]] = []
        self._found: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        url = self._found.get(timeout=START_S_MAX)
        assert url is not None, f"it did not start: {self.log}"
        self.url = url

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            try:
                record = json.loads(line)
            except ValueError:
                record = {"message": line}
            self.log.append(record)
            if "url" in record:
                self._found.put(str(record["url"]))
        self._found.put(None)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit code; the log is complete afterwards."""
        code = self.process.wait(END_S_MAX)
        self._reader.join(END_S_MAX)
        return code

    def last_count(self, name: str) -> int:
        """A number of the log's last line that has one."""
        return int(str(next(record[name] for record in reversed(self.log) if name in record)))

    def cpu_ns(self) -> int:
        """What all its threads have run until now."""
        total = 0
        for task in self._proc("task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total

    def resident_bytes(self) -> int:
        pages = int(self._proc("statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def peak_bytes(self) -> int:
        """The most resident since `forget_peak`."""
        return int(re.findall(r"VmHWM:\s+(\d+) kB", self._proc("status").read_text())[0]) << 10

    def forget_peak(self) -> None:
        self._proc("clear_refs").write_text("5")

    def _proc(self, name: str) -> Path:
        return Path(f"/proc/{self.process.pid}/{name}")

    def descriptor_count(self) -> int:
        return len(os.listdir(self._proc("fd")))

    def metric(self, line: str) -> float:
        """The value of one line of the metrics, by its name and labels."""
        text = httpx.get(f"{self.url}/metrics", timeout=30).text
        found = [found for found in text.splitlines() if found.startswith(line + " ")]
        assert len(found) == 1, f"{line} is in the metrics {len(found)} times"
        return float(found[0].split()[-1])

    def __enter__(self) -> Served:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


def until(condition: Callable[[], bool], limit_s: float = 30.0) -> None:
    """Waits for a condition; fails when it does not come true."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)
