"""The statistics extension: what has been counted of a model, as Triton's tools read it.

Source: triton-inference-server/server `docs/protocol/extension_statistics.md`. perf_analyzer takes
the difference of two answers and indexes all eight durations unchecked, so all are there always.
Each source of counts adds itself to one `ModelStatistics`; the document is made of that alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pelton.errors import Error
from pelton.http._answers import Answer, json_answer
from pelton.http._exchange import Exchange
from pelton.http.state import ServerState
from pelton.metrics import HistogramSnapshot, ModelSnapshot
from pelton.model import Model

__all__ = [
    "Duration",
    "ModelStatistics",
    "add_engine",
    "add_requests",
    "all_statistics",
    "merge_statistics",
    "model_statistics",
    "statistics_remains",
]


@dataclass(slots=True)
class Duration:
    """So many times something was done, and what it took together."""

    count: int = 0
    ns: int = 0

    def add(self, count: int, ns: float = 0) -> None:
        self.count += count
        self.ns += int(ns)

    def add_seconds(self, histogram: HistogramSnapshot) -> None:
        self.add(histogram.observed, histogram.total * 1e9)

    def document(self) -> dict[str, int]:
        return {"count": self.count, "ns": self.ns}


@dataclass(slots=True)
class ModelStatistics:
    """Cumulative counts of one version of one model.

    - `inference_count` counts rows and `execution_count` batches that ran; cache hits are in
      neither.
    - `success` and `fail` count requests, `success` with the time from their bytes to the answer's;
      `queue` and `compute_infer` have the time of a batch once for every request in it.
    - `batch_sizes` has for each size the batches that ran.
    - `last_inference_ms` is since the epoch, 0 for never.
    """

    name: str
    version: str
    last_inference_ms: int = 0
    inference_count: int = 0
    execution_count: int = 0
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)
    cache_hit: Duration = field(default_factory=Duration)
    cache_miss: Duration = field(default_factory=Duration)
    batch_sizes: dict[int, Duration] = field(default_factory=dict)
    memory_bytes: int = 0

    def add(self, other: ModelStatistics) -> None:
        """Count what another process counted of the same model."""
        self.last_inference_ms = max(self.last_inference_ms, other.last_inference_ms)
        self.inference_count += other.inference_count
        self.execution_count += other.execution_count
        for name in _DURATIONS:
            found: Duration = getattr(other, name)
            getattr(self, name).add(found.count, found.ns)
        for size, infer in other.batch_sizes.items():
            self.batch_sizes.setdefault(size, Duration()).add(infer.count, infer.ns)
        self.memory_bytes += other.memory_bytes

    def document(self) -> dict[str, Any]:
        """The statistics as the protocol shows them."""
        nothing = Duration().document()
        return {
            "name": self.name,
            "version": self.version,
            "last_inference": self.last_inference_ms,
            "inference_count": self.inference_count,
            "execution_count": self.execution_count,
            "inference_stats": {
                "success": self.success.document(),
                "fail": self.fail.document(),
                "queue": self.queue.document(),
                "compute_input": self.compute_input.document(),
                "compute_infer": self.compute_infer.document(),
                "compute_output": self.compute_output.document(),
                "cache_hit": self.cache_hit.document(),
                "cache_miss": self.cache_miss.document(),
            },
            "response_stats": {},  # of models with several answers to a request
            "batch_stats": [
                {
                    "batch_size": size,
                    "compute_input": nothing,
                    "compute_infer": infer.document(),
                    "compute_output": nothing,
                }
                for size, infer in sorted(self.batch_sizes.items())
            ],
            "memory_usage": [{"type": "CPU", "id": 0, "byte_size": self.memory_bytes}],
        }


_DURATIONS: Final = (
    *("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"),
    *("cache_hit", "cache_miss"),
)


def merge_statistics(answers: Iterable[Sequence[ModelStatistics]]) -> list[ModelStatistics]:
    """The sums of several processes' statistics."""
    merged: dict[tuple[str, str], ModelStatistics] = {}
    for answer in answers:
        for found in answer:
            key = (found.name, found.version)
            merged.setdefault(key, ModelStatistics(*key)).add(found)
    return list(merged.values())


def statistics_remains(answer: Sequence[ModelStatistics]) -> list[ModelStatistics]:
    """What still counts of a process that has ended."""
    return [replace(found, memory_bytes=0) for found in answer]


def add_requests(statistics: ModelStatistics, snapshot: ModelSnapshot) -> None:
    """What was counted where requests are read and answers written."""
    outcomes = dict(snapshot.outcomes)
    statistics.success.add(outcomes.pop("ok", 0))
    statistics.fail.add(sum(outcomes.values()))
    statistics.compute_input.add_seconds(snapshot.decode)
    statistics.compute_output.add_seconds(snapshot.encode)
    statistics.success.add(0, (snapshot.decode.total + snapshot.encode.total) * 1e9)
    if snapshot.engine is not None:
        statistics.queue.add_seconds(snapshot.engine.queue)
        statistics.success.add(0, snapshot.engine.queue.total * 1e9)


def add_engine(statistics: ModelStatistics, stats: Mapping[str, Any], now_ns: int) -> None:
    """What the engine counted: `Model.stats`, of which a backend may lack any. `now_ns` is on the
    engine's clock, `time.monotonic_ns`."""
    statistics.inference_count += stats.get("rows", 0)
    statistics.execution_count += stats.get("batches", 0)
    execute_ns = stats.get("requests_execute_ns", 0)
    statistics.compute_infer.add(statistics.queue.count, execute_ns)
    statistics.success.add(0, execute_ns)
    for size, batches, ns in stats.get("batch_sizes", ()):
        # Size 0 is the rest, for which the engine's table had no place.
        statistics.batch_sizes.setdefault(size, Duration()).add(batches, ns)
    statistics.memory_bytes += stats.get("weight_bytes", 0) + stats.get("arena_bytes", 0)
    last_ns = stats.get("last_execution_ns", 0)
    if last_ns:
        ago_ms = max(0, now_ns - last_ns) // 1_000_000
        last_ms = time.time_ns() // 1_000_000 - ago_ms
        statistics.last_inference_ms = max(statistics.last_inference_ms, last_ms)


def _collect(name: str, model: Model) -> ModelStatistics:
    statistics = ModelStatistics(name, model.version)
    add_requests(statistics, model.snapshot(name))
    with suppress(Error):  # of a model that is closed, maybe at this moment
        add_engine(statistics, model.stats(), time.monotonic_ns())
    return statistics


def all_statistics(state: ServerState) -> list[ModelStatistics]:
    """This process's statistics of every model. Thread-safe."""
    return [_collect(name, model) for name, model in state.table.all()]


async def model_statistics(exchange: Exchange) -> Answer:
    """Of one model, or of all."""
    name = exchange.path_params.get("model")
    version = exchange.path_params.get("version")
    if name is not None:
        exchange.state.model(name, version)
    found = await exchange.state.control.collect("statistics")
    documents = [
        one.document()
        for one in found
        if name in (None, one.name) and version in (None, one.version)
    ]
    return json_answer({"model_stats": documents})
