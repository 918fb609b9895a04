"""What tests of the benches need: the native programs, as `make native` leaves them."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.native import KERNELS, LOADGEN, program_path


def built(target: str) -> Path:
    path = program_path(target)
    if not path.is_file():
        pytest.skip(f"{path} is not built: run `make native` first")
    return path


@pytest.fixture(scope="session")
def program() -> Path:
    return built(KERNELS)


@pytest.fixture(scope="session")
def loadgen() -> Path:
    return built(LOADGEN)
