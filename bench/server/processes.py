"""Servers as processes of their own, and what the system says of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

__all__ = ["ServerProcess", "free_port", "pelton_command"]

_HOST: Final = "127.0.0.1"
_START_S_MAX: Final = 90.0
_STOP_S_MAX: Final = 30.0
_POLL_S: Final = 0.02
_LOG_BYTES_SHOWN: Final = 2000


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((_HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def pelton_command(models: Mapping[str, Path], *, port: int, threads: int) -> list[str]:
    """`pelton serve` as it is installed beside this interpreter."""
    command = [sys.executable, "-m", "pelton", "serve"]
    command += [f"{name}={path}" for name, path in models.items()]
    command += ["--host", _HOST, "--port", str(port), "--threads", str(threads)]
    return [*command, "--log-level", "warning"]


class ServerProcess:
    """Starts a server and waits until it answers `probe`, raw bytes of a request, with status 200.
    A context manager that ends it with all its children."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        port: int,
        probe: bytes,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self.port = port
        self._probe = probe
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self.process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, **(env or {})},
            cwd=folder,
            start_new_session=True,
        )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_S_MAX
        status = "no answer"
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise SystemExit(
                    f"bench: {self.name} ended with exit code {self.process.returncode}:\n"
                    f"{self.log()}"
                )
            status = _first_line(self.port, self._probe)
            if " 200 " in status:
                return
            time.sleep(_POLL_S)
        raise SystemExit(
            f"bench: {self.name}: no status 200 within {_START_S_MAX:.0f} s, "
            f"the last was {status!r}:\n{self.log()}"
        )

    def log(self) -> str:
        """The end of what it wrote."""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _LOG_BYTES_SHOWN))
        return self._log.read().decode(errors="replace")

    def tell(self, line: str) -> None:
        """A line for its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def cpu_ns(self) -> int:
        """What all its threads that live have run, those of its children too."""
        total = 0
        for pid in self.pids():
            for task in _entries(Path(f"/proc/{pid}/task")):
                try:
                    total += int((task / "schedstat").read_text().split()[0])
                except (OSError, IndexError):  # it ended at this moment
                    continue
        return total

    def resident_bytes(self) -> int:
        """Of it and its children; what they share counts for each."""
        pages = 0
        for pid in self.pids():
            try:
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except (OSError, IndexError):
                continue
        return pages * os.sysconf("SC_PAGE_SIZE")

    def pids(self) -> list[int]:
        """It and its children, and theirs."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parent = int(stat.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
        found = [self.process.pid]
        for pid in found:
            found.extend(children.get(pid, []))
        return found

    def stop(self) -> int:
        """The exit code. What is left of its processes after half a minute is killed."""
        pids = self.pids() if self.process.poll() is None else []
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_STOP_S_MAX)
        for pid in pids:
            if _leads_to(pid, self.process.pid):
                _kill(pid)
        code = self.process.wait()
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()
        self._log.close()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _leads_to(pid: int, session: int) -> bool:
    """Whether a process lives and is of the session that the server leads."""
    try:
        return os.getsid(pid) == session
    except OSError:
        return False


def _kill(pid: int) -> None:
    with suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def _first_line(port: int, request: bytes) -> str:
    """The status line of the answer to one request, or why there is none."""
    try:
        with socket.create_connection((_HOST, port), timeout=5) as connection:
            connection.settimeout(30)
            connection.sendall(request)
            return connection.recv(4096).split(b"\r\n")[0].decode("latin-1") + " "
    except OSError as error:
        return str(error)
