"""The bench of the gates runs on little, and measures every way through them."""

from __future__ import annotations

import pytest
from bench.gates.figures import GATES, run_gates
from bench.native import program_path


def test_the_whole_bench_runs_on_little() -> None:
    program = program_path(GATES)
    if not program.is_file():
        pytest.skip(f"{program} is not built: run `make native` first")
    section = run_gates(program, rounds=2, tiny=True)
    names = [figure.what for figure in section.figures]
    assert len(names) == len(set(names)) == 5
    assert sum("deadlines" in name for name in names) == 4
    assert all(0 < figure.value < 1e6 for figure in section.figures)
    assert "finite, 150528 floats" in section.markdown()
