"""The real model: every instruction set against the float64 oracle, a row's bits in any company.
Long tests: `make test-long` runs all, CI a third each day."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest
from tokenizers import Tokenizer

import pelton
from pelton.bridge import cpu_features, open_plan
from pelton.compiler import CompileSettings, compile_model
from pelton.errors import CorruptPlan, UnsupportedPlan
from python.oracle.encoder import OracleEncoder

pytestmark = pytest.mark.slow

EMBED = """
import sys, numpy, pelton
texts = sys.stdin.read().split("\\0")
with pelton.load(sys.argv[1], threads=2) as model:
    numpy.save(sys.argv[2], model.embed(texts))
"""


def sentences(count: int, seed: int) -> list[str]:
    """Real sentences of mixed length."""
    found = re.split(r"(?<=[.!?])\s+", " ".join(topics.values()))
    fitting = [text.strip() for text in found if 10 < len(text) < 500]
    return random.Random(seed).sample(fitting, count)


@pytest.fixture(scope="module")
def plan(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("plan") / "minilm.plan"
    return compile_model(minilm, output, CompileSettings(name="minilm"))


@pytest.mark.parametrize("isa", ["generic", "avx2", "avx512"])
def test_every_instruction_set_matches_the_oracle(
    isa: str, minilm: Path, plan: Path, tmp_path: Path, seed: int
) -> None:
    features = cpu_features()
    if (isa == "avx2" and not features["avx2"]) or (isa == "avx512" and not features["avx512f"]):
        pytest.skip(f"this CPU has no {isa}")
    texts = sentences(48, seed)
    output = tmp_path / "vectors.npy"
    subprocess.run(
        [sys.executable, "-c", EMBED, str(plan), str(output)],
        input="\0".join(texts),
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, "PELTON_ISA": isa},
    )
    got = np.load(output).astype(np.float64)
    tokenizer = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    oracle = OracleEncoder(minilm)
    expected = np.array([oracle.embed(tokenizer.encode(text).ids) for text in texts])
    assert np.abs(got - expected).max() <= 2e-6
    cosines = (got * expected).sum(1) / np.linalg.norm(got, axis=1)
    assert cosines.min() >= 0.999999


def test_a_text_has_the_same_bits_alone_and_in_any_company(plan: Path, seed: int) -> None:
    texts = sentences(200, seed)
    dice = random.Random(seed)
    with pelton.load(plan, threads=1) as model:
        alone = {text: model.embed([text])[0].tobytes() for text in texts}
    with pelton.load(plan, threads=2) as model, ThreadPoolExecutor(8) as callers:
        groups = [dice.sample(texts, dice.randint(1, 40)) for _ in range(60)]
        for group, vectors in zip(groups, callers.map(model.embed, groups), strict=True):
            for text, vector in zip(group, vectors, strict=True):
                assert vector.tobytes() == alone[text]


def test_flipped_bytes_of_a_real_plan_are_refused(plan: Path, tmp_path: Path, seed: int) -> None:
    damaged = tmp_path / "damaged.plan"
    damaged.write_bytes(plan.read_bytes())
    size = damaged.stat().st_size
    dice = random.Random(seed)
    with damaged.open("r+b") as file:
        for round_number in range(300):
            at = dice.randrange(20_000 if round_number % 2 else size)
            file.seek(at)
            (byte,) = file.read(1)
            for value in (byte ^ (1 << dice.randrange(8)), byte):
                file.seek(at)
                file.write(bytes([value]))
                file.flush()
                if value != byte:
                    with pytest.raises((CorruptPlan, UnsupportedPlan)):
                        open_plan(damaged)
    open_plan(damaged)
