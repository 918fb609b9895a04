"""What of the process's limits each worker gets: totals are divided."""

from __future__ import annotations

from dataclasses import replace

from pelton.errors import InvalidSettings
from pelton.settings import Settings

__all__ = ["worker_settings"]


def worker_settings(settings: Settings) -> list[Settings]:
    """The settings of each worker, in their order. A remainder goes to the first ones. Raises
    `InvalidSettings` where there are more workers than threads.

    A worker may hold the bytes of one whole body, whatever its share: the largest request that is
    taken does not depend on the number of workers.
    """
    count = settings.workers
    if count > settings.threads:
        expected = f"at most the number of threads ({settings.threads})"
        raise InvalidSettings(
            f"workers must be {expected}, not {count}",
            field="workers",
            expected=expected,
            got=str(count),
        )
    return [
        replace(
            settings,
            threads=_share(settings.threads, count, at),
            queue_requests_max=_share(settings.queue_requests_max, count, at),
            connections_max=_share(settings.connections_max, count, at),
            bodies_bytes_max=max(
                _share(settings.bodies_bytes_max, count, at),
                min(settings.body_bytes_max, settings.bodies_bytes_max),
            ),
        )
        for at in range(count)
    ]


def _share(total: int, count: int, at: int) -> int:
    return max(1, total // count + (at < total % count))
