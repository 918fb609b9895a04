"""The parent: keeps the workers running, gives them connections, and speaks for all of them."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections import deque
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

from pelton.app import url_of
from pelton.errors import Error, Internal, Unavailable
from pelton.http.control import COMMANDS, QUESTIONS
from pelton.http.orders import Orders
from pelton.metrics import WorkersSnapshot
from pelton.settings import Settings
from pelton.workers._first_loads import FirstLoads
from pelton.workers._messages import (
    Answer,
    Apply,
    Ask,
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
)
from pelton.workers._process import WorkerProcess
from pelton.workers._restarts import START_FAILURES_MAX, Restarts

__all__ = ["Fleet"]

_LOG: Final = logging.getLogger("pelton.workers")
_BACKLOG: Final = 2048
_ACCEPTS_PER_TURN: Final = 64
_ACCEPT_PAUSE_S: Final = 0.05
_ANSWER_S_MAX: Final = 2.0
# Beyond its own bounds a worker has so long to end before it is killed.
_END_S_MAX: Final = 10.0


class Fleet:
    """On its loop's thread. `settings` are the parent's, `shares` those of each worker."""

    def __init__(
        self,
        settings: Settings,
        shares: Sequence[Settings],
        models: Sequence[tuple[str, str, str]],
        listener: socket.socket,
        repository: FirstLoads | None = None,
    ) -> None:
        self._settings = settings
        self._shares = shares
        self._models = models
        self._listener = listener
        self._url = url_of(listener)
        self._workers: dict[int, WorkerProcess] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_listening = False
        self._waiting: deque[socket.socket] = deque()  # accepted, and with no worker
        self._stopping = asyncio.Event()
        self._cut_short = False
        self._accepted = self._unanswered = 0
        self._repository = repository
        # For new workers.
        self._commands = [] if repository is None else [*repository.commands]
        self._command_number = 0
        self._applying = asyncio.Lock()
        self._rounds = {name: asyncio.Lock() for name in QUESTIONS}
        self._next_rounds: dict[str, asyncio.Task[Any]] = {}
        self._gone: dict[str, Any] = {}  # what remains of the answers of workers that ended
        self._starts: dict[str, int] = {}
        self._late: dict[str, int] = {}

    async def run(self, first: Sequence[WorkerProcess]) -> bool:
        """Serve with the processes of `first`, one of each number, and those that replace them,
        until SIGTERM or SIGINT; returns whether every request that was accepted was answered.

        Raises what a worker says it cannot start for, and `Unavailable` when workers end while they
        start, again and again.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop, self._settings.drain_lag_s)
        loop.add_signal_handler(signal.SIGINT, self._stop, 0.0)
        keepers = [asyncio.create_task(self._keep(worker)) for worker in first]
        done, pending = await asyncio.wait(keepers, return_when=asyncio.FIRST_EXCEPTION)
        if pending:  # one cannot go on: the others answer what they have
            if not self._stopping.is_set():
                self._stop(0.0)
            await asyncio.wait(pending)
        for keeper in done:
            keeper.result()
        _LOG.info(
            "stopped: %d requests accepted, %d answered",
            self._accepted,
            self._accepted - self._unanswered,
            extra={"accepted": self._accepted, "unanswered": self._unanswered},
        )
        return not self._cut_short

    # -- processes ---------------------------------------------------------------------------------
    async def _keep(self, worker: WorkerProcess) -> None:
        """Keep one worker of this number running."""
        restarts = Restarts()
        number = worker.number
        while True:
            code = await self._attend(worker)
            if self._stopping.is_set():
                return
            if worker.failure is not None and not self._is_listening:
                raise worker.failure
            delay_s = restarts.ended(worker.served_s)
            why = str(worker.failure or f"exit code {code}")
            if delay_s is None:
                raise Unavailable(
                    f"worker {number} ended {START_FAILURES_MAX} times while it started: {why}"
                )
            _LOG.error("worker %d ended (%s); a new one starts in %g s", number, why, delay_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_s)
            if self._stopping.is_set():
                return
            worker = WorkerProcess(number)

    async def _attend(self, worker: WorkerProcess) -> int:
        """From its first message to its end; returns its exit code."""
        loop = asyncio.get_running_loop()
        label = str(worker.number)
        self._workers[worker.number] = worker
        self._starts[label] = self._starts.get(label, 0) + 1
        try:
            await worker.channel.open()
            worker.channel.send(
                Job(worker.number, self._shares[worker.number - 1], self._models, self._commands)
            )
            worker.has_job = True
            await worker.channel.run(lambda message: self._on_message(worker, message))
        finally:
            self._forget(worker)
        return await loop.run_in_executor(None, worker.reap)

    def _forget(self, worker: WorkerProcess) -> None:
        del self._workers[worker.number]
        if worker.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(worker.fileno())
        self._waiting.extend(worker.take_back())
        worker.close()
        if self._listener.fileno() < 0:
            self._close_waiting()
        elif self._waiting:
            self._accept()
        for name, last in worker.last_answers.items():
            question = QUESTIONS[name]
            if question.remains is not None:
                left = [question.remains(last)]
                left += [self._gone[name]] if name in self._gone else []
                self._gone[name] = question.merge(left, 0)
        if worker.stopped is None:
            self._cut_short |= worker.is_serving and self._stopping.is_set()
        else:
            self._accepted += worker.stopped.accepted
            self._unanswered += worker.stopped.unanswered
            self._cut_short |= worker.stopped.was_cut_short

    def _on_message(self, worker: WorkerProcess, message: Any) -> None:
        match message:
            case Serving():
                self._on_serving(worker)
            case Failed(error):
                worker.failure = error
            case Stopped():
                worker.stopped = message
            case Ask(number, name):
                self._begin(self._reply(worker, number, self._collect(name)))
            case Apply(number, command, payload):
                self._begin(self._reply(worker, number, self.apply(command, payload)))

    def _on_serving(self, worker: WorkerProcess) -> None:
        loop = asyncio.get_running_loop()
        worker.serving_since = loop.time()
        if worker.fileno() >= 0:
            loop.add_reader(worker.fileno(), self._on_reports, worker)
        _LOG.info(
            "worker %d serves as process %d",
            worker.number,
            worker.process.pid,
            extra={"worker": worker.number, "pid": worker.process.pid},
        )
        if (
            not self._is_listening
            and not self._stopping.is_set()
            and self._serving_count() == len(self._shares)
        ):
            self._is_listening = True
            self._listener.setblocking(False)
            self._listener.listen(_BACKLOG)
            loop.add_reader(self._listener.fileno(), self._accept)
            names = ", ".join(self._names()) or "no model"
            if self._repository is not None and self._settings.watch_s > 0:
                orders = Orders(self._settings, self)
                self._begin(orders.watch(self._repository.seen))
            _LOG.info(
                "serving %s on %s with %d workers",
                names,
                self._url,
                len(self._shares),
                extra={"url": self._url},
            )

    def _names(self) -> list[str]:
        """Of the models served at the start."""
        loaded = () if self._repository is None else self._repository.names
        return [*(name for name, _, _ in self._models), *loaded]

    def _serving_count(self) -> int:
        return sum(worker.is_serving for worker in self._workers.values())

    # -- connections -------------------------------------------------------------------------------
    def _accept(self) -> None:
        """Some of the connections that wait, each to the worker that has the fewest."""
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                sock = self._waiting.popleft() if self._waiting else self._listener.accept()[0]
            except BlockingIOError:
                return
            except OSError as error:  # the client has gone, or there is no descriptor left
                if not isinstance(error, ConnectionError):
                    self._pause_accepting()
                return
            if not self._give(sock):
                self._waiting.appendleft(sock)
                self._pause_accepting()
                return

    def _give(self, sock: socket.socket) -> bool:
        serving = (worker for worker in self._workers.values() if worker.is_serving)
        ranked = sorted(serving, key=lambda worker: worker.connection_count)
        return any(worker.give(sock) for worker in ranked)

    def _pause_accepting(self) -> None:
        """Until a worker, or the system, may have room again."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener.fileno())
        loop.call_later(_ACCEPT_PAUSE_S, self._resume_accepting)

    def _resume_accepting(self) -> None:
        if self._listener.fileno() >= 0:
            asyncio.get_running_loop().add_reader(self._listener.fileno(), self._accept)
            self._accept()

    def _on_reports(self, worker: WorkerProcess) -> None:
        if not worker.read_reports():
            asyncio.get_running_loop().remove_reader(worker.fileno())

    # -- stopping ----------------------------------------------------------------------------------
    def _stop(self, lag_s: float) -> None:
        """Drain; the second call stops at once."""
        if self._stopping.is_set():
            for worker in self._workers.values():
                worker.channel.send(StopNow())
            return
        self._stopping.set()
        for worker in self._workers.values():
            worker.channel.send(Drain())
        if lag_s > 0 and self._is_listening:
            _LOG.info("draining: requests are still taken for %g s", lag_s)
            asyncio.get_running_loop().call_later(lag_s, self._end_connections)
        else:
            self._end_connections()

    def _end_connections(self) -> None:
        loop = asyncio.get_running_loop()
        if self._is_listening:
            self._accept()  # what has connected already
            loop.remove_reader(self._listener.fileno())
        self._listener.close()
        self._close_waiting()
        for worker in self._workers.values():
            if worker.fileno() >= 0:
                loop.remove_reader(worker.fileno())
            worker.end_connections()
            if not worker.is_serving:  # it has nothing to answer
                worker.kill()
        loop.call_later(self._settings.drain_s_max + _END_S_MAX, self._kill_all)

    def _close_waiting(self) -> None:
        while self._waiting:
            self._waiting.popleft().close()

    def _kill_all(self) -> None:
        for worker in self._workers.values():
            worker.kill()

    # -- all together ------------------------------------------------------------------------------
    def _begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _reply(
        self, worker: WorkerProcess, number: int, work: Coroutine[Any, Any, Any]
    ) -> None:
        try:
            answer = Answer(number, await work)
        except Error as error:
            answer = Answer(number, error=error)
        except Exception as error:
            _LOG.exception("a question of worker %d failed", worker.number)
            answer = Answer(number, error=Internal(repr(error)))
        worker.channel.send(answer)

    async def _collect(self, name: str) -> Any:
        """All who ask while a round is under way share the next one: it begins after they asked,
        and the rounds of a question do not pile up."""
        task = self._next_rounds.get(name)
        if task is None:
            task = self._next_rounds[name] = self._begin(self._round(name))
        return await asyncio.shield(task)

    async def _round(self, name: str) -> Any:
        question = QUESTIONS[name]
        async with self._rounds[name]:
            del self._next_rounds[name]
            workers = [worker for worker in self._workers.values() if worker.is_serving]
            in_time = await asyncio.gather(*(self._ask(worker, name) for worker in workers))
            answers = []
            for worker in workers:
                # That of a worker that has ended since is in `_gone`; of one that is late the last
                # one counts, so that sums do not fall.
                if worker.is_serving and self._workers.get(worker.number) is worker:
                    answers += [worker.last_answers[name]] if name in worker.last_answers else []
            if name in self._gone:
                answers.append(self._gone[name])
            if question.fleet is not None:
                running = self._serving_count()
                answers.append(question.fleet(WorkersSnapshot(running, self._starts, self._late)))
            return question.merge(answers, len(self._shares) - sum(in_time))

    async def _ask(self, worker: WorkerProcess, name: str) -> bool:
        """Whether it answered in time."""
        try:
            worker.last_answers[name] = await worker.channel.request(
                lambda number: Question(number, name), _ANSWER_S_MAX
            )
        except TimeoutError:
            label = str(worker.number)
            self._late[label] = self._late.get(label, 0) + 1
            _LOG.warning("worker %d did not answer %r in time", worker.number, name)
            return False
        except Error:
            return False
        return True

    async def apply(self, command: str, payload: Any) -> None:
        """One command at a time: to all that serve, then to those that will. Raises what it failed
        with in one of them, after it was undone in the others."""
        async with self._applying:
            asked = [worker for worker in self._workers.values() if worker.is_serving]
            found = await asyncio.gather(
                *(self._command(worker, command, payload) for worker in asked)
            )
            failed = [error for _, error, _ in found if error is not None]
            for worker, (number, _, _) in zip(asked, found, strict=True):
                worker.channel.send(Undo(number) if failed else Keep(number))
            if failed:
                raise failed[0]
            states = [commands for _, _, commands in found if commands is not None]
            if not states:
                raise Unavailable("no worker serves at the moment")
            self._commands = states[0]
            for worker in self._workers.values():
                if worker.has_job and worker not in asked:
                    worker.channel.send(Do(0, command, payload))
                    worker.channel.send(Keep(0))

    async def _command(
        self, worker: WorkerProcess, command: str, payload: Any
    ) -> tuple[int, Error | None, Any]:
        """Its number, what it failed with, and the worker's commands after it; neither of a worker
        that has ended."""
        given = 0

        def make(number: int) -> Do:
            nonlocal given
            given = number
            return Do(number, command, payload)

        try:
            commands = await worker.channel.request(make, COMMANDS[command].seconds_max)
        except TimeoutError:
            error = Unavailable(f"worker {worker.number} did not answer in time")
            return given, error, None
        except Error as error:
            has_ended = self._workers.get(worker.number) is not worker
            return given, None if has_ended else error, None
        return given, None, commands
