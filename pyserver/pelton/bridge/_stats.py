"""The engine's counts as metrics show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pelton.metrics import EngineSnapshot, HistogramSnapshot

__all__ = ["snapshot_of"]


def _histogram(stats: Mapping[str, Any]) -> HistogramSnapshot:
    return HistogramSnapshot(stats["bounds"], stats["counts"], stats["total"])


def snapshot_of(stats: Mapping[str, Any]) -> EngineSnapshot:
    """What `LoadedModel.stats` returned, as a snapshot."""
    return EngineSnapshot(
        queue=_histogram(stats["queue_seconds"]),
        execute=_histogram(stats["execute_seconds"]),
        batch_rows=_histogram(stats["batch_rows"]),
        batch_tokens=_histogram(stats["batch_tokens"]),
        queue_rows=stats["queue_rows"],
        pool_bytes={"arena": stats["arena_bytes"], "arena_peak": stats["arena_bytes_peak"]},
    )
