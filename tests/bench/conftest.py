"""What tests of the benches need: the native program, as `make native` leaves it."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.native import program_path


@pytest.fixture(scope="session")
def program() -> Path:
    path = program_path()
    if not path.is_file():
        pytest.skip(f"{path} is not built: run `make native` first")
    return path
