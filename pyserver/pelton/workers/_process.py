"""A worker as its parent sees it: a process, the control channel, and where connections go."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from typing import Any, Final

from pelton.errors import Error
from pelton.workers._channel import Channel
from pelton.workers._messages import ENDED, TAKEN, Stopped

__all__ = ["WorkerProcess"]

_END_S_MAX: Final = 5.0
_REPORT_BYTES: Final = 64 << 10


class WorkerProcess:
    """Starts at once. On one loop's thread."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._control, control = socket.socketpair()
        self._connections, connections = socket.socketpair()
        self._connections.setblocking(False)
        with control, connections:
            self.process = _spawn(control, connections)
        self.channel = Channel(self._control)
        self.has_job = False
        self.serving_since: float | None = None
        self.connection_count = 0  # given to it, and not reported as ended
        self._given: deque[socket.socket] = deque()  # and not reported as taken
        self.last_answers: dict[str, Any] = {}
        self.failure: Error | None = None
        self.stopped: Stopped | None = None

    @property
    def is_serving(self) -> bool:
        return self.serving_since is not None

    @property
    def served_s(self) -> float | None:
        """How long it has served; None: not yet."""
        return None if self.serving_since is None else time.monotonic() - self.serving_since

    def fileno(self) -> int:
        """Readable when it reports of connections; -1 when it has been given the last."""
        return self._connections.fileno()

    def give(self, sock: socket.socket) -> bool:
        """Hand over a connection, which is this object's from then on. False: it takes none now."""
        try:
            socket.send_fds(self._connections, [b"\0"], [sock.fileno()])
        except OSError:  # its buffer is full, or it is gone
            return False
        self.connection_count += 1
        self._given.append(sock)
        return True

    def read_reports(self) -> bool:
        """Which connections it has taken, and how many have ended; False when it will report no
        more."""
        try:
            reports = self._connections.recv(_REPORT_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        for _ in range(reports.count(TAKEN)):
            self._given.popleft().close()
        self.connection_count -= reports.count(ENDED)
        return bool(reports)

    def take_back(self) -> list[socket.socket]:
        """After its end: the connections that it has not taken."""
        while self._connections.fileno() >= 0 and self.read_reports():
            pass
        left = [*self._given]
        self._given.clear()
        return left

    def end_connections(self) -> None:
        """No more will be given: it answers what it has, and stops. Idempotent."""
        self._connections.close()

    def kill(self) -> None:
        """Idempotent; `reap` is still due."""
        if self.process.poll() is None:
            self.process.kill()

    def reap(self) -> int:
        """Wait for the end of a process that has closed its channel; returns its exit code, as
        `subprocess` has it. Blocks, for a few seconds at most where the process hangs."""
        try:
            return self.process.wait(_END_S_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def close(self) -> None:
        """Its ends of the channels. Idempotent."""
        self._connections.close()
        self.channel.close()
        self._control.close()


def _spawn(control: socket.socket, connections: socket.socket) -> subprocess.Popen[bytes]:
    """A fresh interpreter, not a fork: the threads of the engine and of NumPy would be missing in
    it, and their locks held for ever."""
    command = [sys.executable]
    # As this process was started, so are workers: with the working directory on the path, or not.
    if os.path.realpath(sys.path[0] or ".") != os.path.realpath("."):
        command.append("-P")
    descriptors = (control.fileno(), connections.fileno())
    command += ["-m", "pelton.workers", *map(str, descriptors)]
    # A Ctrl-C goes to the whole group of a terminal, and some supervisors signal all processes of a
    # service; the parent alone decides. Blocked until the worker ignores them, they cannot kill it.
    signals = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=descriptors)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
