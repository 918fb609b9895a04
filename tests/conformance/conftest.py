"""One server of small models for all clients, and the clients' modules without their noise."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pelton.compiler import ROWS, Binary, GraphBuilder, plan_metadata, write_plan
from pelton.model import Model, load
from python import toys
from python.e2e.served import Served


def labelled(folder: Path) -> Path:
    """x FP32 [-1, 4] -> y = x + 1, with names for the four classes."""
    builder = GraphBuilder("labelled")
    x = builder.input("x", (ROWS, 4))
    builder.output("y", builder.binary(x, np.ones(4, np.float32), Binary.ADD))
    graph = builder.build()
    path = folder / "labelled.plan"
    write_plan(graph, path, plan_metadata(graph), {"labels.txt": b"zero\none\ntwo\nthree\n"})
    return path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("conformance")


@pytest.fixture(scope="session")
def served(folder: Path) -> Iterator[Served]:
    models = (
        f"tiny={toys.tiny_encoder(folder)}",
        f"plus_one={toys.plus_one(folder)}",
        f"two={toys.two_by_two(folder)}",
        f"labelled={labelled(folder)}",
    )
    with Served(*models, "--shared-memory", "on") as served:
        yield served


@pytest.fixture(scope="session")
def tiny(served: Served, folder: Path) -> Iterator[Model]:
    """The text encoder in this process: what answers are compared to, bit by bit."""
    with load(folder / "tiny") as model:
        yield model


@pytest.fixture(scope="session")
def http() -> Any:
    """tritonclient.http"""
    with warnings.catch_warnings():  # of gevent and its like, at import
        warnings.simplefilter("ignore")
        return pytest.importorskip("tritonclient.http")


@pytest.fixture(scope="session")
def triton(served: Served, http: Any) -> Iterator[Any]:
    client = http.InferenceServerClient(served.url.removeprefix("http://"))
    yield client
    client.close()
