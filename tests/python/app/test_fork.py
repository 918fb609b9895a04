"""A program that forks while it serves: the child has copies of every descriptor and object of the
server, and its parent's clients must not notice, however the child goes on and ends."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from python.http.hostile import LIMIT_S, NATIVE, PYTHON, Reader, get, infer, until

# Commands come as lines; each is answered by a line.
PROGRAM = """
import gc, os, sys, time
from pathlib import Path
from python.http.hostile import Running

folder, thread, way = sys.argv[1:]
running = Running(Path(folder))
running.__enter__()
running.backend.hold()
print(running.server.url, flush=True)


def end_child():
    if way == "at once":
        os._exit(0)
    if way == "by stopping the server":
        running.__exit__()
        os._exit(0)
    if way == "after collecting all":
        globals().pop("running")
        gc.collect()
        os._exit(0)
    if way == "by an exit":
        sys.exit(0)
    if thread == "main":  # else the child goes on with its copy of the event loop
        time.sleep(600)


def fork():
    pid = os.fork()
    if pid == 0:
        end_child()
    return pid


sys.stdin.readline()
if thread == "main":
    child = fork()
else:
    import threading
    pids, done = [], threading.Event()

    def fork_there():
        pids.append(fork())
        done.set()

    running.server._loop.call_soon_threadsafe(fork_there)
    done.wait()
    child = pids[0]
print(child, flush=True)
for line in sys.stdin:
    command = line.strip()
    if command == "wait":
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    elif command == "release":
        running.backend.release()
        running.backend._gate = None
        print("released", flush=True)
    elif command == "stop":
        running.__exit__()
        print("stopped", flush=True)
        break
"""


class Program:
    """The serving program; its clients are here, where no fork copies their sockets."""

    def __init__(self, folder: Path, program: str, *arguments: str) -> None:
        tests = str(Path(__file__).parents[2])
        paths = [tests, *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(folder), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        self.address = ("127.0.0.1", int(self._line().rpartition(":")[2]))

    def _line(self) -> str:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], 2 * LIMIT_S)
        assert ready, "the program does not answer"
        return self.process.stdout.readline().strip()

    def ask(self, command: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self._line()

    def listens(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(self.address) == 0

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=LIMIT_S)


@contextmanager
def program(folder: Path, text: str, *arguments: str) -> Iterator[Program]:
    program = Program(folder, text, *arguments)
    try:
        yield program
    finally:
        program.process.kill()
        # Not `communicate`: a child that is left would hold the pipes open.
        for pipe in (program.process.stdin, program.process.stdout, program.process.stderr):
            assert pipe is not None
            pipe.close()
        program.process.wait(LIMIT_S)


def assert_answered(sock: socket.socket, reader: Reader, path: str, value: float) -> None:
    """Right, and once."""
    sock.sendall(infer(path, value) + get("/v2/health/live"))
    answer = reader.answer()
    assert (answer.status, answer.json()["outputs"][0]["data"][0]) == (
        200,
        value + (0.0 if path == PYTHON else 1.0),
    )
    assert reader.answer().json() == {"live": True}
    assert select.select([sock], [], [], 0.02)[0] == [], "something else came"


# A server is not stopped from its own loop's thread: that would wait for itself.
WAYS = [
    ("main", "by an exit"),
    ("loop", "by an exit"),
    ("loop", "never"),
    *(
        pytest.param(thread, way, marks=pytest.mark.slow)
        for thread, way in (
            ("main", "by stopping the server"),
            ("main", "at once"),
            ("main", "after collecting all"),
            ("main", "never"),
            ("loop", "at once"),
            ("loop", "after collecting all"),
        )
    ),
]


@pytest.mark.parametrize(("thread", "way"), WAYS)
def test_the_clients_of_a_forking_server_do_not_notice(
    thread: str, way: str, tmp_path: Path
) -> None:
    with program(tmp_path, PROGRAM, thread, way) as server:
        socks = [server.connect() for _ in range(4)]
        idle, used, begun, waiting = socks
        readers = [Reader(sock) for sock in socks]
        for path in (NATIVE, "/v2/health/live"):
            used.sendall(infer(path) if path == NATIVE else get(path))
            assert readers[1].answer().status == 200
        begun.sendall(infer(NATIVE, 5)[:-3])
        waiting.sendall(infer(PYTHON, 7) + infer(NATIVE, 8))
        child = int(server.ask("fork"))
        try:
            if way != "never":
                assert server.ask("wait") == "0"
            assert server.ask("release") == "released"
            begun.sendall(infer(NATIVE, 5)[-3:])
            assert readers[2].answer().json()["outputs"][0]["data"] == [6.0] * 4
            assert readers[3].answer().json()["outputs"][0]["data"] == [7.0]
            assert readers[3].answer().json()["outputs"][0]["data"] == [9.0] * 4
            for n in range(4):
                for sock, reader in zip(socks, readers, strict=True):
                    assert_answered(sock, reader, PYTHON if n == 0 else NATIVE, n)
            with server.connect() as other:
                assert_answered(other, Reader(other), NATIVE, 3)
            # What the parent closes is closed, though a child of it lives.
            used.sendall(b"broken\r\n\r\n")
            assert [answer.status for answer in readers[1].rest()] == [400]
            idle.close()
            assert server.ask("stop") == "stopped"
            with pytest.raises(ConnectionRefusedError):
                server.connect()
            assert readers[2].rest() == []
            assert server.process.wait(LIMIT_S) == 0
        finally:
            if way == "never":
                os.kill(child, signal.SIGKILL)
            for sock in socks:
                sock.close()


# `pelton serve` in a process that forks on another thread, as Python's `multiprocessing` may.
SERVE = """
import os, sys, threading, time
from pathlib import Path
from pelton.app import bind, serve, url_of
from pelton.settings import Settings
from python import toys

settings = Settings(threads=1, cache_dir=sys.argv[1])
sock = bind("127.0.0.1", 0)
print(url_of(sock), flush=True)

def fork():
    sys.stdin.readline()
    child = os.fork()
    if child == 0:
        print(os.getpid(), flush=True)
        time.sleep(600)
    sys.stdin.readline()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)

threading.Thread(target=fork, daemon=True).start()
with toys.load_plan(toys.plus_one(Path(sys.argv[1])), settings) as model:
    assert serve({"plus_one": model}, settings, sock)
"""


def test_a_signal_to_a_child_is_none_to_its_parent(tmp_path: Path) -> None:
    with program(tmp_path, SERVE) as server, ExitStack() as stack:
        until(server.listens)  # it is bound before
        sock = stack.enter_context(server.connect())
        reader = Reader(sock)
        assert_answered(sock, reader, NATIVE, 1)
        child = int(server.ask("fork"))
        os.kill(child, signal.SIGTERM)
        try:
            assert server.ask("wait") == str(-signal.SIGTERM)
        except AssertionError:
            os.kill(child, signal.SIGKILL)
            raise
        for n in range(5):
            assert_answered(sock, reader, NATIVE, n)
        sock.sendall(get("/v2/health/ready"))
        assert reader.answer().json()["ready"] is True
        server.process.send_signal(signal.SIGTERM)
        assert reader.rest() == []
        assert server.process.wait(LIMIT_S) == 0
