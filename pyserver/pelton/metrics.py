"""What Pelton counts, and how Prometheus is shown it.

Counting and showing are apart. The engine counts in per-thread native slots; the few things that
only Python sees (outcomes, decode and encode times, the event loop's lag) are counted by the cheap
classes here. A scrape takes one `ProcessSnapshot`, plain numbers, and a prometheus-client custom
collector turns it into families: prometheus-client itself never sits on the path of a request,
where it would cost more than the request (a typical five updates take 15 us).
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = [
    "CONTENT_TYPE_OPENMETRICS",
    "CONTENT_TYPE_TEXT",
    "COUNT_BOUNDS",
    "SECONDS_BOUNDS",
    "EngineSnapshot",
    "Histogram",
    "HistogramSnapshot",
    "ModelSnapshot",
    "ProcessSnapshot",
    "RequestMetrics",
    "render",
]

CONTENT_TYPE_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
CONTENT_TYPE_OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

#: Upper bounds of latency buckets, in seconds: 100 us to 10 s, about 2.2x apart.
SECONDS_BOUNDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
#: Upper bounds of buckets of counts (rows, tokens): powers of two.
COUNT_BOUNDS: Final = tuple(float(1 << power) for power in range(15))
_CPU: Final = "cpu"  # the only device


class HistogramSnapshot(NamedTuple):
    """`counts[i]` values were at most `bounds[i]` and above the bound before; the last entry of
    `counts`, one more than `bounds`, lay above every bound. `total` is the sum of the values."""

    bounds: Sequence[float]
    counts: Sequence[int]
    total: float

    @property
    def observed(self) -> int:
        """How many values there were."""
        return sum(self.counts)

    def cumulative(self) -> Iterator[tuple[str, int]]:
        """The buckets as Prometheus wants them: label `le`, number of values at most that."""
        labels = [*(_number_label(bound) for bound in self.bounds), "+Inf"]
        return zip(labels, accumulate(self.counts), strict=True)


def _number_label(bound: float) -> str:
    return str(float(bound))


class Histogram:
    """Counts values into fixed buckets. Thread-safe; an update takes about a third of a
    microsecond."""

    __slots__ = ("_bounds", "_counts", "_lock", "_total")

    def __init__(self, bounds: Sequence[float] = SECONDS_BOUNDS) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._total = 0.0
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        bucket = bisect_left(self._bounds, value)
        with self._lock:
            self._counts[bucket] += 1
            self._total += value

    def snapshot(self) -> HistogramSnapshot:
        with self._lock:
            return HistogramSnapshot(self._bounds, tuple(self._counts), self._total)


class RequestMetrics:
    """What Python counts about one model: how requests ended, and the phases outside the engine.
    Thread-safe.

    An outcome is "ok" or the code of the error that the caller got.
    """

    __slots__ = ("_lock", "_outcomes", "decode", "encode")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outcomes: dict[str, int] = {"ok": 0}
        self.decode = Histogram()
        self.encode = Histogram()

    def count(self, outcome: str) -> None:
        """One request more ended so. REQUIRES: `outcome` is one of a fixed set (a metric label)."""
        with self._lock:
            self._outcomes[outcome] = self._outcomes.get(outcome, 0) + 1

    @property
    def outcomes(self) -> dict[str, int]:
        with self._lock:
            return dict(self._outcomes)


class EngineSnapshot(NamedTuple):
    """What the engine counted for one model. `queue` and `execute` are in seconds; `batch_rows` and
    `batch_tokens` count batches by size; `pool_bytes` is by state."""

    queue: HistogramSnapshot
    execute: HistogramSnapshot
    batch_rows: HistogramSnapshot
    batch_tokens: HistogramSnapshot
    queue_rows: int
    pool_bytes: Mapping[str, int]


class ModelSnapshot(NamedTuple):
    """One version of one model at one moment; `engine` is None where it has been unloaded."""

    model: str
    version: str
    outcomes: Mapping[str, int]
    decode: HistogramSnapshot
    encode: HistogramSnapshot
    load_seconds: float
    engine: EngineSnapshot | None


class ProcessSnapshot(NamedTuple):
    """Everything a scrape shows."""

    models: Sequence[ModelSnapshot]
    loop_lag: HistogramSnapshot | None = None
    connections: int | None = None
    requests_in_flight: int | None = None


class _Collector:
    """A prometheus-client custom collector over one snapshot."""

    def __init__(self, snapshot: ProcessSnapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        snapshot = self._snapshot
        labels = ("model", "version")
        requests = CounterMetricFamily(
            "pelton_requests",
            "Requests that ended, by how they ended.",
            labels=(*labels, "outcome"),
        )
        seconds = HistogramMetricFamily(
            "pelton_request_seconds", "Time of a request in a phase.", labels=(*labels, "phase")
        )
        batch_rows = HistogramMetricFamily("pelton_batch_rows", "Rows of a batch.", labels=labels)
        batch_tokens = HistogramMetricFamily(
            "pelton_batch_tokens", "Tokens of a batch.", labels=labels
        )
        queue_rows = GaugeMetricFamily(
            "pelton_queue_rows", "Rows that wait for a batch.", labels=labels
        )
        load_seconds = GaugeMetricFamily(
            "pelton_model_load_seconds", "Time it took to load the model.", labels=labels
        )
        pool = GaugeMetricFamily(
            "pelton_pool_bytes", "Bytes of the engine's memory.", labels=("device", "state")
        )
        pool_bytes: dict[str, int] = {}
        for model in snapshot.models:
            key = (model.model, model.version)
            for outcome, count in model.outcomes.items():
                requests.add_metric((*key, outcome), count)
            _add_histogram(seconds, (*key, "decode"), model.decode)
            _add_histogram(seconds, (*key, "encode"), model.encode)
            load_seconds.add_metric(key, model.load_seconds)
            if model.engine is None:
                continue
            _add_histogram(seconds, (*key, "queue"), model.engine.queue)
            _add_histogram(seconds, (*key, "execute"), model.engine.execute)
            _add_histogram(batch_rows, key, model.engine.batch_rows)
            _add_histogram(batch_tokens, key, model.engine.batch_tokens)
            queue_rows.add_metric(key, model.engine.queue_rows)
            for state, count in model.engine.pool_bytes.items():
                pool_bytes[state] = pool_bytes.get(state, 0) + count
        for state, count in pool_bytes.items():
            pool.add_metric((_CPU, state), count)
        yield from (requests, seconds, batch_rows, batch_tokens, queue_rows, load_seconds, pool)
        if snapshot.loop_lag is not None:
            lag = HistogramMetricFamily(
                "pelton_loop_lag_seconds", "How late the event loop's timer ran."
            )
            _add_histogram(lag, (), snapshot.loop_lag)
            yield lag
        gauges = (
            ("pelton_connections", "Open connections.", snapshot.connections),
            (
                "pelton_requests_in_flight",
                "Requests begun, not answered.",
                snapshot.requests_in_flight,
            ),
        )
        for name, about, value in gauges:
            if value is not None:
                yield GaugeMetricFamily(name, about, value=value)


def _add_histogram(family: Any, labels: Sequence[str], histogram: HistogramSnapshot) -> None:
    family.add_metric(labels, list(histogram.cumulative()), sum_value=histogram.total)


def render(snapshot: ProcessSnapshot, *, openmetrics: bool = False) -> bytes:
    """The scrape's answer in Prometheus' text format 0.0.4, or OpenMetrics 1.0.0."""
    from prometheus_client import CollectorRegistry, exposition
    from prometheus_client.openmetrics import exposition as openmetrics_exposition

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(snapshot))
    if openmetrics:
        text: bytes = openmetrics_exposition.generate_latest(registry)  # type: ignore[no-untyped-call]
        return text
    return exposition.generate_latest(registry)
