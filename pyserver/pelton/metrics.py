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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    "PathSnapshot",
    "ProcessSnapshot",
    "RequestMetrics",
    "WorkersSnapshot",
    "merge_snapshots",
    "render",
    "snapshot_remains",
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


class PathSnapshot(NamedTuple):
    """What one way into the engine counted of a model: how requests ended, and how long their
    bodies took to be read and written."""

    outcomes: Mapping[str, int]
    decode: HistogramSnapshot
    encode: HistogramSnapshot


class RequestMetrics:
    """What is counted about one model outside the engine: by Python itself, and by the native
    paths that were added. Thread-safe.

    An outcome is "ok" or the code of the error that the caller got.
    """

    __slots__ = ("_lock", "_outcomes", "_paths", "decode", "encode")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outcomes: dict[str, int] = {"ok": 0}
        self._paths: list[Callable[[], PathSnapshot]] = []
        self.decode = Histogram()
        self.encode = Histogram()

    def count(self, outcome: str) -> None:
        """One request more ended so. REQUIRES: `outcome` is one of a fixed set (a metric label)."""
        with self._lock:
            self._outcomes[outcome] = self._outcomes.get(outcome, 0) + 1

    def add_path(self, path: Callable[[], PathSnapshot]) -> None:
        """Count in what `path` says, from now on."""
        with self._lock:
            self._paths.append(path)

    def end_path(self, path: Callable[[], PathSnapshot]) -> None:
        """`path` ends: what it says now stays counted, since counts never fall."""
        last = path()
        with self._lock:
            self._paths[self._paths.index(path)] = lambda: last

    def snapshot(self) -> PathSnapshot:
        """All paths together."""
        with self._lock:
            own = dict(self._outcomes)
            paths = list(self._paths)
        found = [path() for path in paths]
        return PathSnapshot(
            outcomes=_sum_by_key([own, *(path.outcomes for path in found)]),
            decode=_merge_histograms([self.decode.snapshot(), *(path.decode for path in found)]),
            encode=_merge_histograms([self.encode.snapshot(), *(path.encode for path in found)]),
        )

    @property
    def outcomes(self) -> Mapping[str, int]:
        return self.snapshot().outcomes


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


class WorkersSnapshot(NamedTuple):
    """The processes of a server that is several; mappings are by the worker's number."""

    running: int
    starts: Mapping[str, int]
    late: Mapping[str, int]  # questions it did not answer in time


class ProcessSnapshot(NamedTuple):
    """Everything a scrape shows."""

    models: Sequence[ModelSnapshot]
    loop_lag: HistogramSnapshot | None = None
    connections: int | None = None
    requests_in_flight: int | None = None
    workers: WorkersSnapshot | None = None


def _merge_histograms(histograms: Iterable[HistogramSnapshot]) -> HistogramSnapshot:
    """REQUIRES: the same bounds, at least one."""
    first, *rest = histograms
    for other in rest:
        if tuple(other.bounds) != tuple(first.bounds):
            raise ValueError("histograms of different bounds have no sum")
        counts = tuple(a + b for a, b in zip(first.counts, other.counts, strict=True))
        first = HistogramSnapshot(first.bounds, counts, first.total + other.total)
    return first


def _sum_by_key(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for found in counts:
        for key, count in found.items():
            total[key] = total.get(key, 0) + count
    return total


def _sum_known(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _merge_engines(engines: Sequence[EngineSnapshot]) -> EngineSnapshot | None:
    if not engines:
        return None
    return EngineSnapshot(
        queue=_merge_histograms(engine.queue for engine in engines),
        execute=_merge_histograms(engine.execute for engine in engines),
        batch_rows=_merge_histograms(engine.batch_rows for engine in engines),
        batch_tokens=_merge_histograms(engine.batch_tokens for engine in engines),
        queue_rows=sum(engine.queue_rows for engine in engines),
        pool_bytes=_sum_by_key(engine.pool_bytes for engine in engines),
    )


def _merge_models(models: Sequence[ModelSnapshot]) -> ModelSnapshot:
    return ModelSnapshot(
        model=models[0].model,
        version=models[0].version,
        outcomes=_sum_by_key(model.outcomes for model in models),
        decode=_merge_histograms(model.decode for model in models),
        encode=_merge_histograms(model.encode for model in models),
        load_seconds=max(model.load_seconds for model in models),
        engine=_merge_engines([model.engine for model in models if model.engine is not None]),
    )


def merge_snapshots(snapshots: Sequence[ProcessSnapshot]) -> ProcessSnapshot:
    """One snapshot of several processes: counts, histograms and gauges of amounts are summed, of
    load times the longest is kept, of `workers` the last that is known."""
    models: dict[tuple[str, str], list[ModelSnapshot]] = {}
    for snapshot in snapshots:
        for model in snapshot.models:
            models.setdefault((model.model, model.version), []).append(model)
    lags = [snapshot.loop_lag for snapshot in snapshots if snapshot.loop_lag is not None]
    workers = [snapshot.workers for snapshot in snapshots if snapshot.workers is not None]
    return ProcessSnapshot(
        models=[_merge_models(found) for found in models.values()],
        loop_lag=_merge_histograms(lags) if lags else None,
        connections=_sum_known(snapshot.connections for snapshot in snapshots),
        requests_in_flight=_sum_known(snapshot.requests_in_flight for snapshot in snapshots),
        workers=workers[-1] if workers else None,
    )


def snapshot_remains(snapshot: ProcessSnapshot) -> ProcessSnapshot:
    """What still counts of a process that has ended: its counters, which must not fall. Gauges are
    of what is."""
    models = [
        model._replace(
            load_seconds=0.0,
            engine=model.engine and model.engine._replace(queue_rows=0, pool_bytes={}),
        )
        for model in snapshot.models
    ]
    return ProcessSnapshot(models=models, loop_lag=snapshot.loop_lag)


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
        if snapshot.workers is not None:
            yield from _worker_families(snapshot.workers)


def _worker_families(workers: WorkersSnapshot) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    yield GaugeMetricFamily("pelton_workers", "Workers that serve.", value=workers.running)
    counters = (
        ("pelton_worker_starts", "Starts of a worker.", workers.starts),
        ("pelton_worker_late_answers", "Questions not answered in time.", workers.late),
    )
    for name, about, counts in counters:
        family = CounterMetricFamily(name, about, labels=("worker",))
        for number, count in counts.items():
            family.add_metric((number,), count)
        yield family


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
