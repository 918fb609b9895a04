"""What the routes of one server share: its models, limits, and whether it is draining."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from pelton.bridge import Connection, Front, FrontLimits
from pelton.codec.types import DecodeLimits
from pelton.errors import InvalidSettings, Unavailable, Unimplemented
from pelton.http._regions import Regions
from pelton.http.loading import Loading
from pelton.http.models import NAME_BYTES_MAX, ModelTable
from pelton.metrics import Histogram, ProcessSnapshot
from pelton.model import Model
from pelton.settings import Settings

if TYPE_CHECKING:
    from pelton.http._coding import Coding
    from pelton.http.orders import Orders

__all__ = ["LAG_PERIOD_S", "Control", "ServerState", "check_name"]

#: How often the event loop's lag is measured.
LAG_PERIOD_S: Final = 1.0
#: How long a body may take before the pace of its bytes is judged.
BODY_GRACE_S: Final = 5.0
#: How long a client may leave its answer unread.
WRITE_STALL_S_MAX: Final = 30.0
_WORKERS: Final = 2
_RESERVED_NAMES: Final = (".", "..", "stats")
_FORBIDDEN: Final = frozenset("/\\@%?#")


class Control(Protocol):
    """The server as a whole, of which this process may be one of several. The questions and
    commands are those of `pelton.http.control`."""

    async def collect(self, question: str) -> Any:
        """The answer of all processes together. Waits for no process longer than a bound; raises
        `Unavailable` where it cannot ask."""

    async def apply(self, command: str, payload: Any) -> None:
        """Returns when every process has carried out the command. Raises what it failed with in
        one of them, or `Unavailable`; then no process has it."""


class ServerState:
    """Used on the server's event loop only, but for `accepted` and `in_flight`, which others may
    read."""

    def __init__(self, models: Mapping[str, Model], settings: Settings) -> None:
        self.table = ModelTable({check_name(name): model for name, model in models.items()})
        self.settings = settings
        #: This process's half of the repository; None where there is none.
        self.loading = Loading(self.table, settings) if settings.repository else None
        self.orders: Orders | None = None  # set when the server starts, with `loading`
        self.limits = DecodeLimits(
            body_bytes_max=settings.body_bytes_max,
            head_bytes_max=min(16 << 20, settings.body_bytes_max),
            string_bytes_max=max(1 << 20, settings.text_bytes_max),
        )
        self.started_s = int(time.time())
        #: Shared memory that clients have registered; None where that is off.
        self.regions = Regions() if settings.shared_memory == "on" else None
        self.draining = False
        # Requests that came to the ASGI application; the native path counts its own.
        self.asgi_accepted = 0  # their head was read
        self.asgi_answered = 0  # of those, the ones that are over
        self.front: Front | None = None
        self.loop_lag = Histogram()
        # For bodies that take long to read or write; threads start when first used.
        self.workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="pelton-codec")
        self._lag_timer: asyncio.TimerHandle | None = None
        self.control: Control  # set by the application

    @property
    def shared_regions(self) -> Regions:
        """Raises `Unimplemented` where shared memory is off."""
        if self.regions is None:
            raise Unimplemented(
                "shared memory is off; the setting shared_memory turns it on",
                field="shared_memory",
            )
        return self.regions

    def open_front(self, loop: asyncio.AbstractEventLoop) -> Front:
        """The native request path of `loop`, with every model on it."""
        settings = self.settings
        limits = FrontLimits(
            body_bytes_max=self.limits.body_bytes_max,
            head_bytes_max=self.limits.head_bytes_max,
            string_bytes_max=self.limits.string_bytes_max,
            requests_max=settings.queue_requests_max,
            bodies_bytes_max=settings.bodies_bytes_max,
            connections_max=settings.connections_max,
            compress_bytes_min=settings.compress_bytes_min,
            head_s_max=settings.head_s_max,
            keep_alive_s=settings.keep_alive_s,
            body_grace_s=BODY_GRACE_S,
            write_stall_s_max=WRITE_STALL_S_MAX,
            deadline_s_default=settings.deadline_ms_default / 1000,
        )
        front = Front(loop, limits, self.workers, _compress)
        self.table.open_front(front)
        self.front = front
        return front

    def new_connection(self) -> Connection:
        """The native half of a connection. REQUIRES: `open_front`."""
        assert self.front is not None
        return self.front.connection()

    async def open_repository(self, *, loads: bool) -> None:
        """Take commands for the repository from now on. Unless others do that, `loads` what there
        is, and watches it where the settings say so. Raises `InvalidSettings`."""
        if self.loading is None:
            return
        from pelton.http.orders import Orders

        self.orders = Orders(self.settings, self.control)
        if loads:
            seen = await self.orders.load_all()
            if self.settings.watch_s > 0:
                self.loading.begin(self.orders.watch(seen))

    def drain(self) -> None:
        """Ready is false from now on, and answers close their connections."""
        self.draining = True
        if self.front is not None:
            self.front.set_draining()

    @property
    def path_counts(self) -> Mapping[str, int]:
        """Counts of the native path; empty without one."""
        return {} if self.front is None else self.front.stats()

    @property
    def connection_count(self) -> int:
        """Open connections."""
        return self.path_counts.get("connections", 0)

    @property
    def accepted(self) -> int:
        """Requests whose head was read."""
        return self.asgi_accepted + self.path_counts.get("accepted", 0)

    @property
    def in_flight(self) -> int:
        """Accepted requests that are not over."""
        counts = self.path_counts
        native = counts.get("accepted", 0) - counts.get("answered", 0)
        return self.asgi_accepted - self.asgi_answered + native

    @property
    def models(self) -> Mapping[str, Model]:
        """By name; of several versions the one of requests that name none."""
        return self.table.latest

    @property
    def ready(self) -> bool:
        return not self.draining and all(model.ready for _, model in self.table.all())

    def model(self, name: str, version: str | None = None) -> Model:
        """Raises `ModelNotFound` for an unknown name or version."""
        return self.table.find(name, version)

    def ready_model(self, name: str, version: str | None = None) -> Model:
        """`model`, or `Unavailable` where it is closed."""
        model = self.model(name, version)
        if not model.ready:
            raise Unavailable(f"model {name!r} is not ready", model=name)
        return model

    def snapshot(self) -> ProcessSnapshot:
        """What a scrape of the metrics shows."""
        models = [model.snapshot(name) for name, model in self.table.all()]
        return ProcessSnapshot(
            models=models,
            loop_lag=self.loop_lag.snapshot(),
            connections=self.connection_count,
            requests_in_flight=self.in_flight,
        )

    def watch_loop(self) -> None:
        """Begin to measure how late the running loop's timers are."""
        loop = asyncio.get_running_loop()
        due = loop.time() + LAG_PERIOD_S

        def tick() -> None:
            nonlocal due
            now = loop.time()
            self.loop_lag.observe(max(0.0, now - due))
            due = now + LAG_PERIOD_S
            self._lag_timer = loop.call_at(due, tick)

        self._lag_timer = loop.call_at(due, tick)

    def close(self) -> None:
        """Stop measuring and end the workers. Models that came from the repository are closed,
        others are their owner's to close."""
        if self._lag_timer is not None:
            self._lag_timer.cancel()
        if self.front is not None:
            self.front.close()
        self.table.close()
        if self.loading is not None:
            self.loading.close()
        self.workers.shutdown(wait=False, cancel_futures=True)


def _compress(coding: str, body: bytes) -> bytes:
    from pelton.http._coding import compress

    return compress(cast("Coding", coding), (body,)) or b""


def check_name(name: str) -> str:
    """A name that fits into a path and is no route's own word. Raises `InvalidSettings`."""
    bad = (
        not 0 < len(name.encode(errors="replace")) <= NAME_BYTES_MAX
        or name in _RESERVED_NAMES
        or not name.isprintable()
        or not _FORBIDDEN.isdisjoint(name)
    )
    if bad:
        raise InvalidSettings(
            f"the model name {name[:64]!r}: expected 1 to {NAME_BYTES_MAX} bytes without "
            f"control characters and {' '.join(sorted(_FORBIDDEN))}, and none of "
            f"{', '.join(_RESERVED_NAMES)}",
            field="name",
        )
    return name
