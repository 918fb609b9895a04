"""A loaded encoder uses the native tokenizer where it can: no import, and no thread for short
texts."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pelton
from pelton.backends import native as backend
from python import toys

TEXTS = ["one two", "two two three", "nothing known", ""]
LOADED = """
import sys, pelton
with pelton.load(sys.argv[1], threads=1) as model:
    print(model.embed(["one two"]).shape[0], "tokenizers" in sys.modules)
"""


def changed(folder: Path, **changes: Any) -> Path:
    """A tiny encoder with another tokenizer.json."""
    path = toys.tiny_encoder(folder) / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return path.parent


@pytest.fixture(scope="module")
def native_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.tiny_encoder(tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="module")
def package_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same words from the `tokenizers` package: its normalizer is another one by name."""
    normalizer = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}]}
    return changed(tmp_path_factory.mktemp("package"), normalizer=normalizer)


@pytest.fixture
def in_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The settings of threads that tokenizing in a worker was called with."""
    called: list[int] = []
    original = backend.tokenize_in_worker

    async def counted(*arguments: Any, threads: int) -> Any:
        called.append(threads)
        return await original(*arguments, threads=threads)

    monkeypatch.setattr(backend, "tokenize_in_worker", counted)
    return called


def test_both_tokenizers_give_the_same_embeddings(native_folder, package_folder) -> None:
    with pelton.load(native_folder, threads=1) as ours, pelton.load(package_folder) as theirs:
        assert (ours.embed(TEXTS) == theirs.embed(TEXTS)).all()


def test_only_other_tokenizers_cost_an_import(native_folder, package_folder) -> None:
    for folder, imported in ((native_folder, False), (package_folder, True)):
        done = subprocess.run(
            [sys.executable, "-c", LOADED, str(folder)],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert done.stdout.split() == ["1", str(imported)]


def test_short_texts_stay_on_the_loop_and_long_ones_do_not(
    native_folder: Path, in_worker: list[int]
) -> None:
    with pelton.load(native_folder, threads=1) as model:
        asyncio.run(model.infer({"text": TEXTS}))
        assert in_worker == []
        asyncio.run(model.infer({"text": ["one " * 15] * 100}))
        assert in_worker == [1]


def test_the_package_works_in_a_worker(package_folder: Path, in_worker: list[int]) -> None:
    with pelton.load(package_folder, threads=1) as model:
        asyncio.run(model.infer({"text": TEXTS}))
        assert in_worker == [1]
