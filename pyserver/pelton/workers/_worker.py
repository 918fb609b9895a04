"""A worker process: a server of one process whose connections, questions and orders come from the
parent."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pelton._logs import configure_logging
from pelton.errors import Error, Internal, Unavailable
from pelton.http.control import COMMANDS, Done, answer, carry_out, commands_of
from pelton.workers._channel import Channel
from pelton.workers._messages import (
    ENDED,
    TAKEN,
    Answer,
    Apply,
    Ask,
    Decoder,
    Do,
    Drain,
    Failed,
    Job,
    Keep,
    Question,
    Serving,
    StopNow,
    Stopped,
    Undo,
    encode,
)

if TYPE_CHECKING:
    from pelton import app
    from pelton.model import Model

__all__ = ["main"]

T = TypeVar("T")

_LOG: Final = logging.getLogger("pelton.workers")
# The parent's rounds are bounded; these only bound what follows from its being stuck.
_ANSWER_S_MAX: Final = 10.0
_APPLY_S_MORE: Final = 30.0
_CONNECTIONS_PER_TURN: Final = 64
_RETRY_S: Final = 0.05
_REPORT_BYTES: Final = 4096
_READ_BYTES: Final = 64 << 10


def main(arguments: Sequence[str]) -> int:
    """`arguments` are the descriptors of the control channel and of the connections."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    control, connections = (socket.socket(fileno=int(number)) for number in arguments)
    control.set_inheritable(False)
    connections.set_inheritable(False)
    gc.disable()  # what is made now lives until the end; `serve_supervised` turns it on again
    from pelton.app import serve_supervised  # while the parent compiles

    decoder = Decoder()
    found = _first_messages(control, decoder)
    if not found:
        return 0  # the parent gave up
    job, *early = found
    assert isinstance(job, Job)
    configure_logging(job.settings.log_format, job.settings.log_level, job.number)
    try:
        models = _load(job)
        member = _Member(job, control, connections, decoder, early)
        drained = serve_supervised(models, job.settings, member)
    except Error as error:
        with suppress(OSError):  # the parent has ended
            control.setblocking(True)
            control.sendall(encode(Failed(error)))
        return 1
    for model in models.values():
        model.close()
    return 0 if drained else 1


def _first_messages(control: socket.socket, decoder: Decoder) -> list[Any]:
    """What came up to the first whole message; nothing where the parent has ended."""
    while data := control.recv(_READ_BYTES):
        found = list(decoder.feed(data))
        if found:
            return found
    return []


def _load(job: Job) -> dict[str, Model]:
    from pelton.model import load

    return {
        name: load(plan if os.path.exists(plan) else source, name=name, settings=job.settings)
        for name, plan, source in job.models
    }


class _Member:
    """This process among the others: `app.Supervisor`, and the `Control` of its routes."""

    def __init__(
        self,
        job: Job,
        control: socket.socket,
        connections: socket.socket,
        decoder: Decoder,
        early: Sequence[Any],
    ) -> None:
        self._job = job
        self._channel = Channel(control, decoder)
        self._early = early
        self._connections = connections
        self._serving: app.Serving | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._connecting: set[asyncio.Task[Any]] = set()
        # Commands that are neither kept nor undone.
        self._doing: dict[int, asyncio.Task[Done | None]] = {}
        self._applying = asyncio.Lock()
        self._untaken: list[socket.socket | None] = []  # received, at most one
        self._lost = 0  # connections that ended, not reported yet
        self._report: asyncio.TimerHandle | None = None
        connections.setblocking(False)

    # -- Control -----------------------------------------------------------------------------------
    async def collect(self, question: str) -> Any:
        try:
            return await self._channel.request(lambda n: Ask(n, question), _ANSWER_S_MAX)
        except TimeoutError:
            raise Unavailable("the parent process did not answer in time") from None

    async def apply(self, command: str, payload: Any) -> None:
        seconds_max = COMMANDS[command].seconds_max + _APPLY_S_MORE
        try:
            await self._channel.request(lambda n: Apply(n, command, payload), seconds_max)
        except TimeoutError:
            raise Unavailable("the parent process did not answer in time") from None

    # -- Supervisor --------------------------------------------------------------------------------
    @property
    def control(self) -> _Member:
        return self

    async def join(self, serving: app.Serving) -> None:
        self._serving = serving
        await self._channel.open()
        for command, payload in self._job.commands:
            try:
                (await carry_out(serving.state, command, payload)).keep()
            except Error as error:  # such as an object that its client has taken away since
                _LOG.warning("%s %s was not restored: %s", command, payload, error)
        for message in self._early:
            self._on_message(message)
        self._begin(self._listen_to_parent())

    def listening(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._connections.fileno(), self._on_connections)
        self._channel.send(Serving())

    def connection_lost(self) -> None:
        self._lost += 1
        if self._report is None:
            self._report = asyncio.get_running_loop().call_later(0, self._report_lost)

    async def leave(self, serving: app.Serving) -> None:
        self._channel.send(Stopped(serving.accepted, serving.unanswered, serving.was_cut_short))
        await self._channel.flush()
        for task in self._tasks:
            task.cancel()

    # -- the parent --------------------------------------------------------------------------------
    async def _listen_to_parent(self) -> None:
        await self._channel.run(self._on_message)
        # With it the connections' socket has ended, which says to stop.
        _LOG.warning("the parent process has ended")

    def _begin(
        self, work: Coroutine[Any, Any, T], tasks: set[asyncio.Task[Any]] | None = None
    ) -> asyncio.Task[T]:
        """As a task of this object, in `tasks` until it is done."""
        tasks = self._tasks if tasks is None else tasks
        task = asyncio.get_running_loop().create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    def _on_message(self, message: Any) -> None:
        assert self._serving is not None
        match message:
            case Question(number, name):
                self._begin(self._answer(number, name))
            case Do():
                self._doing[message.id] = self._begin(self._do(message))
            case Keep(number):
                self._begin(self._end(self._doing.pop(number, None), keeps=True))
            case Undo(number):
                self._begin(self._end(self._doing.pop(number, None), keeps=False))
            case Drain():
                self._serving.state.drain()
            case StopNow():
                self._serving.request_stop(0.0)
                self._serving.request_stop(0.0)

    async def _answer(self, number: int, name: str) -> None:
        assert self._serving is not None
        try:
            found = Answer(number, await answer(self._serving.state, name))
        except Exception as error:
            found = Answer(number, error=_leaf(error))
        self._channel.send(found)

    async def _do(self, message: Do) -> Done | None:
        """One command after the other; None where it failed, and so left nothing."""
        assert self._serving is not None
        state = self._serving.state
        try:
            async with self._applying:
                done = await carry_out(state, message.command, message.payload)
        except Exception as error:
            self._channel.send(Answer(message.id, error=_leaf(error)))
            return None
        self._channel.send(Answer(message.id, commands_of(state)))
        return done

    async def _end(self, doing: asyncio.Task[Done | None] | None, *, keeps: bool) -> None:
        """Keep what a command did or undo it, when it is carried out."""
        done = None if doing is None else await doing
        if done is not None:
            (done.keep if keeps else done.undo)()

    # -- connections -------------------------------------------------------------------------------
    def _on_connections(self) -> None:
        for _ in range(_CONNECTIONS_PER_TURN):
            if not self._untaken:
                try:
                    if not self._receive():
                        return
                except BlockingIOError:
                    return
            try:
                self._connections.send(TAKEN)
            except BlockingIOError:  # the parent reads nothing at the moment
                self._pause_taking()
                return
            except OSError:  # the parent has ended; who connected still gets an answer
                pass
            self._begin(self._connect(self._untaken.pop()), self._connecting)

    def _receive(self) -> bool:
        """One more connection into `_untaken`; False where there will be none."""
        flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
        try:
            data, descriptors, _, _ = socket.recv_fds(self._connections, 1, 1, flags)
        except ConnectionError:  # the parent has ended, and left reports of ours unread
            data, descriptors = b"", []
        if not data:
            asyncio.get_running_loop().remove_reader(self._connections.fileno())
            self._begin(self._stop())
            return False
        # None in a descriptor's place: this process has none left for it.
        self._untaken.append(socket.socket(fileno=descriptors[0]) if descriptors else None)
        return True

    def _pause_taking(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._connections.fileno())
        loop.call_later(_RETRY_S, self._resume_taking)

    def _resume_taking(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._connections.fileno(), self._on_connections)
        self._on_connections()

    async def _connect(self, sock: socket.socket | None) -> None:
        assert self._serving is not None
        if sock is None:
            self.connection_lost()
            return
        sock.setblocking(False)
        try:
            await self._serving.connect(sock)
        except OSError:  # the client has gone already
            sock.close()
            self.connection_lost()

    async def _stop(self) -> None:
        """When every connection that was given has its protocol."""
        assert self._serving is not None
        if self._connecting:
            await asyncio.wait(self._connecting)
        self._serving.request_stop(0.0)

    def _report_lost(self) -> None:
        self._report = None
        try:
            self._lost -= self._connections.send(ENDED * min(self._lost, _REPORT_BYTES))
        except BlockingIOError:
            pass
        except OSError:  # the parent has ended
            self._lost = 0
        if self._lost:
            loop = asyncio.get_running_loop()
            self._report = loop.call_later(_RETRY_S, self._report_lost)


def _leaf(error: Exception) -> Error:
    if isinstance(error, Error):
        return error
    _LOG.error("a command of the parent failed", exc_info=error)
    return Internal(repr(error))
