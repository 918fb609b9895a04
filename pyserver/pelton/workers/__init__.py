"""Several processes behind one port: `pelton serve --workers N`.

A parent owns the listening socket and the settings, accepts connections and hands each to the
worker that has the fewest. Workers are single-process servers, spawned and never forked; they share
the pages of the mapped plan. Every worker answers for all: questions and commands go through the
parent. docs/adr/0007-one-parent-hands-out-connections.md says why it is so.
"""

from __future__ import annotations

from pelton.workers._run import serve_with_workers
from pelton.workers._shares import worker_settings

__all__ = ["serve_with_workers", "worker_settings"]
