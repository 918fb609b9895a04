"""From the command line's models to a running fleet."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping

from pelton.app import bind, warn_if_open
from pelton.model import prepared_path
from pelton.settings import Settings
from pelton.workers._first_loads import first_loads
from pelton.workers._fleet import Fleet
from pelton.workers._process import WorkerProcess
from pelton.workers._shares import worker_settings

__all__ = ["serve_with_workers"]


def serve_with_workers(paths: Mapping[str, str], settings: Settings) -> bool:
    """Serve the models of `paths` (by name) with `settings.workers` processes until SIGTERM or
    SIGINT; returns whether the drain was left to end. Raises `InvalidSettings`, what loading raises
    here or in a worker, and `Unavailable` when workers cannot be kept running."""
    shares = worker_settings(settings)
    with bind(settings.host, settings.port) as listener:
        warn_if_open(settings.host)
        # They import what they need while models are compiled here, once.
        workers = [WorkerProcess(number) for number in range(1, len(shares) + 1)]
        try:
            models = [(name, prepared_path(path, settings), path) for name, path in paths.items()]
            gc.collect()  # the plans are the workers' to map
            with asyncio.Runner() as runner:
                found = runner.run(first_loads(settings)) if settings.repository else None
                fleet = Fleet(settings, shares, models, listener, found)
                return runner.run(fleet.run(workers))
        finally:
            for worker in workers:
                worker.kill()
                worker.reap()
                worker.end_connections()
