"""Makes figures of what the native program measured."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Final

from bench.native import run_program
from bench.report import Figure, Section, table

__all__ = ["GATES", "NS_MAX", "run_gates"]

GATES: Final = "pelton_bench_gates"
#: What all gates and counters may cost a request.
NS_MAX: Final = 150.0


def run_gates(program: Path, *, rounds: int = 15, tiny: bool = False) -> Section:
    """A figure for each way through the gates, and the time to look at every float of an input."""
    arguments = ["--rounds", str(rounds), *(["--tiny"] if tiny else [])]
    cases = run_program(program, *arguments)
    section = Section("Gates: one thread, its own CPU time")
    for case in cases:
        name, median = case["case"], statistics.median(case["ns"])
        if name.startswith("gates"):
            section.figures.append(
                Figure(
                    what=name,
                    against="–",
                    value=median,
                    shown=f"{median:.0f} ns",
                    reach=NS_MAX,
                    reach_shown=f"≤ {NS_MAX:.0f} ns",
                    lower=True,
                )
            )
    rows = [
        (case["case"], f"{statistics.median(case['ns']):.1f}", f"{min(case['ns']):.1f}")
        for case in cases
    ]
    section.add(
        "Nanoseconds per request, the making of the request included: every gate asked before it, "
        "told of its batch and of its end; all its counters and histograms. The last lines are the "
        "look for a NaN or an infinity in a dense input.",
        table(("case", "median", "best"), rows),
    )
    return section
