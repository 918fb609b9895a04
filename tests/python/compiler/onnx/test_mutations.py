"""Damaged models end in an error or in a model, never in anything else."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from python.compiler.onnx import mutate
from python.compiler.onnx.models import mlp, save
from python.compiler.onnx.test_batch_axis import attention, choice, cnn, loop, lstm
from python.compiler.onnx.test_passes import with_function

MODELS = {
    "mlp": mlp,
    "cnn": cnn,
    "attention": attention,
    "lstm": lstm,
    "loop": loop,
    "choice": choice,
    "function": with_function,
}


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


def run_mutations(folder: Path, model: Any, seed: int, count: int) -> tuple[int, int]:
    done = subprocess.run(
        [sys.executable, mutate.__file__, str(save(folder, model)), str(seed), str(count)],
        capture_output=True,
        text=True,
        timeout=60 + count,
        check=False,
        preexec_fn=limited,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    taken, refused = map(int, done.stdout.split())
    assert taken + refused == count
    return taken, refused


@pytest.mark.parametrize("name", ["attention", "loop"])
def test_a_few_mutations(tmp_path: Path, name: str, seed: int) -> None:
    taken, refused = run_mutations(tmp_path, MODELS[name](), seed, 60)
    assert taken
    assert refused


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_thousand_mutations(tmp_path: Path, name: str, seed: int) -> None:
    taken, refused = run_mutations(tmp_path, MODELS[name](), 1000 * seed, 1000)
    assert taken
    assert refused
