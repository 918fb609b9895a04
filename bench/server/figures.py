"""The rows of the server's figures, by name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Final

from bench.report import Section, table
from bench.server import cost, latency, real_models
from bench.server.stage import ServerOptions, Stage

__all__ = ["NEEDS_ENCODER", "ROWS", "run_server"]

ROWS: Final[dict[str, Callable[[Stage], Section]]] = {
    "floor": cost.run_floor,
    "single": cost.run_single,
    "formats": cost.run_formats,
    "peers": cost.run_peers,
    "mlp": real_models.run_mlp,
    "embed": real_models.run_embed,
    "open": latency.run_open,
    "idle": latency.run_idle,
    "hog": latency.run_hog,
    "stall": latency.run_stall,
    "mixed": latency.run_mixed,
}
#: Rows that load MiniLM.
NEEDS_ENCODER: Final = ("embed",)
_TRIALS: Final = (
    "Each peer ran with its best settings of these, found in one closed loop of 64 connections "
    "each before anything was compared:"
)


def run_server(options: ServerOptions, rows: Sequence[str]) -> list[Section]:
    """One section per row, each with servers of its own."""
    sections = []
    for name in rows:
        print(f"bench: server: {name}", file=sys.stderr, flush=True)
        with Stage(options) as stage:
            section = ROWS[name](stage)
            if stage.trials:
                section.add(_TRIALS, table(("", "settings", "requests/s", "CPU us"), stage.trials))
            sections.append(section)
    return sections
