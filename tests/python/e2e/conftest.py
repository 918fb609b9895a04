from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import pelton
from pelton.model import Model
from python.e2e.served import Served


@pytest.fixture(scope="session")
def minilm_model(minilm: Path) -> Iterator[Model]:
    """The same model in this process: what the server's answers are compared to, bit by bit."""
    with pelton.load(minilm) as model:
        yield model


@pytest.fixture(scope="module")
def served(minilm: Path) -> Iterator[Served]:
    with Served(f"minilm={minilm}") as served:
        yield served
