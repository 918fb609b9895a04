"""A running server: in a program's own thread (`Server`), or as the process (`serve`).

Draining, the same for both: ready turns 503 at once; for `drain_lag_s` requests are still taken and
answers carry `Connection: close`; then listening stops, and every request whose head was read is
answered, for at most `drain_s_max`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import logging
import os
import select
import signal
import socket
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Protocol

import uvicorn

from pelton.errors import InvalidSettings, Unavailable
from pelton.http import Application, PeltonProtocol, ServerState
from pelton.http.state import Control
from pelton.model import Model
from pelton.settings import Settings, load_settings

__all__ = [
    "Server",
    "Serving",
    "Supervisor",
    "bind",
    "serve",
    "serve_supervised",
    "url_of",
    "warn_if_open",
]

_LOG: Final = logging.getLogger("pelton.server")
_BACKLOG: Final = 2048
_DATE_PERIOD_S: Final = 1.0
_DRAIN_POLL_S: Final = 0.02
# The first requests need not wait for what only others use.
_PRELOAD_DELAY_S: Final = 0.5
_START_S_MAX: Final = 60.0
# How long CPython lets one thread run while another waits. A worker thread that holds the
# interpreter delays the event loop by up to this; at the default of 5 ms a single busy thread costs
# two thirds of the throughput (seen in a prototype).
_SWITCH_INTERVAL_S: Final = 2e-5


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to the address, not listening yet: a taken port is known before models are
    loaded. Raises `InvalidSettings`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidSettings(f"cannot listen on {host}:{port}: {reason}", field="host") from None
    return sock


def url_of(sock: socket.socket) -> str:
    """Where a bound socket can be reached over HTTP."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if sock.family == socket.AF_INET6 else f"http://{host}:{port}"


class Supervisor(Protocol):
    """What runs this process as one of several: it gives the connections and says when to stop.
    Called on the loop's thread."""

    @property
    def control(self) -> Control:
        """All the processes together."""

    async def join(self, serving: Serving) -> None:
        """Before connections are taken."""

    def listening(self) -> None:
        """Connections are taken from now on."""

    def connection_lost(self) -> None:
        """One of those it gave has ended."""

    async def leave(self, serving: Serving) -> None:
        """Nothing is served any more."""


class Serving(uvicorn.Server):
    """uvicorn's server with our signals and our drain."""

    def __init__(
        self,
        state: ServerState,
        on_listening: Callable[[], object],
        supervisor: Supervisor | None = None,
    ) -> None:
        settings = state.settings
        self._application = Application(state, None if supervisor is None else supervisor.control)
        super().__init__(
            uvicorn.Config(
                self._application,
                http=PeltonProtocol if supervisor is None else _given_protocol(supervisor),
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                headers=[("server", "pelton")],
                backlog=_BACKLOG,
                timeout_keep_alive=settings.keep_alive_s,  # type: ignore[arg-type]
            )
        )
        self.state = state
        self._on_listening = on_listening
        self._is_alone = supervisor is None
        #: Requests accepted, and those of them that got no answer; known when it has stopped.
        self.accepted = self.unanswered = 0
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._lag_s = settings.drain_lag_s
        self._loop: Any = None  # while it has sockets
        self._has_signals = False

    def request_stop(self, lag_s: float | None = None) -> None:
        """Drain; the second call stops at once. On the loop's thread."""
        if self._stop.is_set():
            self._stop_now.set()
            return
        self.state.drain()
        self._lag_s = self.state.settings.drain_lag_s if lag_s is None else lag_s
        self._stop.set()

    def handle_signals(self) -> None:
        """SIGTERM and SIGINT are requests to stop. On the main thread, whose loop is running."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.request_stop)
        loop.add_signal_handler(signal.SIGINT, self.request_stop, 0.0)
        self._has_signals = True

    def disown(self) -> None:
        """In a forked child: make its copies of the descriptors something else.

        They are the parent's sockets and its loop's epoll instance. An object that is collected
        here, or a loop that goes on or is closed here, would end the parent's watch of a socket or
        answer its client, and what the parent closes would stay open as long as the child lives. A
        signal to the child would be one to the parent, whose loop reads them from a socket too.
        """
        loop, self._loop = self._loop, None
        if self._has_signals:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if loop is None or loop.is_closed():
            return
        with select.epoll() as epoll:
            os.dup2(epoll.fileno(), loop._get_backend_id(), inheritable=False)
        nowhere, other_end = socket.socketpair()
        other_end.close()
        with nowhere:
            for descriptor in self._descriptors():
                os.dup2(nowhere.fileno(), descriptor, inheritable=False)

    def _descriptors(self) -> Iterator[int]:
        for server in self.servers:
            for sock in server.sockets:
                yield sock.fileno()
        for connection in list(self.server_state.connections):
            sock = connection.transport.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                yield sock.fileno()

    async def connect(self, sock: socket.socket) -> None:
        """Serve a connection that was accepted elsewhere."""
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(self._new_protocol, sock)

    def _new_protocol(self) -> asyncio.Protocol:
        protocol: asyncio.Protocol = self.config.http_protocol_class(
            config=self.config,  # type: ignore[call-arg]
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        return protocol

    @property
    def was_cut_short(self) -> bool:
        """Whether a second request to stop came before the drain was over."""
        return self._stop_now.is_set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are handled by `serve`, and not at all in a program's thread."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        _serving.add(self)
        self._front = self.state.open_front(self._loop)
        await self.on_tick(0)
        await self.state.open_repository(loads=self._is_alone)
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Brings the Date header up to date, for both halves of a connection."""
        stops = await super().on_tick(counter)
        fields = self.server_state.default_headers
        self._front.set_common_fields(b"".join(b"%b: %b\r\n" % field for field in fields))
        return stops

    async def main_loop(self) -> None:
        self.state.watch_loop()
        self._on_listening()
        loop = asyncio.get_running_loop()
        preload = loop.call_later(_PRELOAD_DELAY_S, self._preload, loop)
        while not self._stop.is_set():
            await _wait(self._stop, _DATE_PERIOD_S)
            await self.on_tick(0)  # the Date header
        preload.cancel()

    def _preload(self, loop: asyncio.AbstractEventLoop) -> None:
        """What the first request of a rarer kind would wait for."""
        workers = self.state.workers
        loop.run_in_executor(workers, self._application.routes.load)
        loop.run_in_executor(workers, importlib.import_module, "pelton.codec.msgpack")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        if self._lag_s > 0:
            _LOG.info("draining: requests are still taken for %g s", self._lag_s)
            await _wait(self._stop_now, self._lag_s)
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        deadline = loop.time() + self.state.settings.drain_s_max
        connections = self.server_state.connections
        while connections and not self._stop_now.is_set() and loop.time() < deadline:
            for connection in list(connections):
                connection.drain()  # type: ignore[union-attr]
            await _wait(self._stop_now, _DRAIN_POLL_S)
        unanswered = self.state.in_flight
        for connection in list(connections):
            connection.transport.abort()
        for task in list(self.server_state.tasks):
            task.cancel()
        if unanswered:
            _LOG.warning("stopped with %d requests unanswered", unanswered)
        accepted = self.state.accepted
        self.accepted, self.unanswered = accepted, unanswered
        _LOG.info(
            "stopped: %d requests accepted, %d answered",
            accepted,
            accepted - unanswered,
            extra={"accepted": accepted, "unanswered": unanswered},
        )
        self.state.close()
        self._loop = None


# Those of this process, for a child of it.
_serving: weakref.WeakSet[Serving] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for serving in list(_serving):
        serving.disown()


os.register_at_fork(after_in_child=_after_fork_in_child)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Until the event is set, or so long."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


def _new_loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


class Server:
    """Serves models from inside a program or a test, on a thread of its own.

        with pelton.Server({"minilm": model}, port=0) as server:
            print(server.url)

    The models stay the program's: `stop` does not close them. A server is started once.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        *,
        host: str | None = None,
        port: int | None = None,
        settings: Settings | None = None,
    ) -> None:
        """`host` and `port` are the settings of those names (port 0 takes a free one); `settings`
        gives all others, by default those of the `PELTON_*` variables."""
        settings = load_settings() if settings is None else settings
        if host is not None:
            settings = replace(settings, host=host)
        if port is not None:
            settings = replace(settings, port=port)
        self._state = ServerState(models, settings)
        self._socket: socket.socket | None = None
        self._url = ""
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._serving: Serving | None = None
        self._listening = threading.Event()
        self._failure: BaseException | None = None

    @property
    def url(self) -> str:
        """Where it listens, such as "http://127.0.0.1:8080". After `start`."""
        if not self._url:
            raise Unavailable("the server has not been started")
        return self._url

    def start(self) -> None:
        """Returns when requests are answered. Raises `InvalidSettings` for an address that cannot
        be had."""
        if self._thread is not None:
            raise Unavailable("a server is started once; make another one")
        settings = self._state.settings
        self._socket = bind(settings.host, settings.port)
        self._url = url_of(self._socket)
        self._thread = threading.Thread(target=self._run, name="pelton-server", daemon=True)
        self._thread.start()
        if not self._listening.wait(_START_S_MAX) or self._failure is not None:
            self._socket.close()
            raise Unavailable(f"the server did not start: {self._failure!r}")

    def stop(self) -> None:
        """Answer what was accepted, then end. Idempotent; called by `__exit__`."""
        thread, loop, serving = self._thread, self._loop, self._serving
        if thread is None:
            return
        if loop is not None and serving is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(self._request_stop_once)
        thread.join()

    def _request_stop_once(self) -> None:
        if self._serving is not None and not self._state.draining:
            self._serving.request_stop()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=_new_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:
            self._failure = error
            _LOG.exception("the server failed")
        finally:
            self._listening.set()

    async def _serve(self) -> None:
        assert self._socket is not None
        self._loop = asyncio.get_running_loop()
        self._serving = Serving(self._state, self._listening.set)
        await self._serving.serve([self._socket])

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _given_protocol(supervisor: Supervisor) -> type[PeltonProtocol]:
    """The protocol of connections that a supervisor gave."""

    class GivenProtocol(PeltonProtocol):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            supervisor.connection_lost()

    return GivenProtocol


def serve_supervised(
    models: Mapping[str, Model], settings: Settings, supervisor: Supervisor
) -> bool:
    """Serve the connections that `supervisor` gives until it says to stop; see `serve`."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    state = ServerState(models, settings)

    def on_listening() -> None:
        _settle_collector()
        supervisor.listening()

    async def main() -> bool:
        serving = Serving(state, on_listening, supervisor)
        await supervisor.join(serving)
        await serving.serve([])
        await supervisor.leave(serving)
        return not serving.was_cut_short

    with asyncio.Runner(loop_factory=_new_loop) as runner:
        return runner.run(main())


def serve(models: Mapping[str, Model], settings: Settings, sock: socket.socket) -> bool:
    """Serve on `sock` until SIGTERM or SIGINT, then drain; the process's whole purpose from here.

    SIGINT skips the lag; a second signal stops at once. Returns whether the drain was left to end.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    state = ServerState(models, settings)
    warn_if_open(settings.host)

    async def main() -> bool:
        serving = Serving(state, lambda: _announce(state.models, sock))
        serving.handle_signals()
        await serving.serve([sock])
        return not serving.was_cut_short

    with asyncio.Runner(loop_factory=_new_loop) as runner:
        return runner.run(main())


def warn_if_open(host: str) -> None:
    """Log that others can reach an address, where they can."""
    if host != "localhost" and not host.startswith("127.") and host != "::1":
        _LOG.warning("listening on %s without keys: who can reach it can use it", host)


def _settle_collector() -> None:
    """The server listens: what was made until now stays for ever, so the collector of cycles need
    not walk it again and again (it makes the tail of Python servers)."""
    gc.freeze()
    gc.enable()


def _announce(models: Mapping[str, Model], sock: socket.socket) -> None:
    _settle_collector()
    names = ", ".join(models) or "no model"
    _LOG.info("serving %s on %s", names, url_of(sock), extra={"url": url_of(sock)})
