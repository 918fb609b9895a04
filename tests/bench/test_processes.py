"""The benches that start processes: the server's start, and memory shared between two."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bench.__main__ import main
from bench.machine import ROOT
from bench.memory import run_memory
from bench.startup import StartupOptions, run_startup

from pelton.model import open_model_plan
from pelton.settings import load_settings


def test_a_second_process_shares_the_plan(minilm: Path) -> None:
    (figure,) = run_memory(minilm).figures
    assert figure.met
    assert figure.value >= 0


def test_a_process_alone_owns_what_it_reads(minilm: Path) -> None:
    """The same measurement without the first process: it would see what is not shared."""
    plan = open_model_plan(minilm, load_settings()).path
    copy = subprocess.run(
        [sys.executable, "-m", "bench.memory", "probe", plan],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    added, file_bytes = map(int, copy.stdout.split())
    assert added > 0.9 * file_bytes


@pytest.mark.e2e
def test_the_start_is_timed(minilm: Path) -> None:
    section = run_startup(StartupOptions(folder=minilm, threads=1, rounds=1))
    (figure,) = section.figures
    assert 0.1 < figure.value < 100
    assert "pelton serve" in section.markdown()


def test_results_are_written(minilm: Path, tmp_path: Path) -> None:
    words = ["memory", "--rounds", "3", "--model", str(minilm), "--results", str(tmp_path)]
    assert main(words) == 0
    (path,) = tmp_path.iterdir()
    text = path.read_text()
    assert "private memory that the plan adds to a second process" in text
    assert "`python -m bench memory --rounds 3`" in text


@pytest.mark.parametrize("words", [["coffee"], ["--rounds", "0"], ["--threads", "none"]])
def test_wrong_usage(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
