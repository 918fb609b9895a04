"""Repositories of small models whose versions tell themselves apart: version n adds n."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from pelton.compiler import ROWS, Binary, GraphBuilder
from python.toys import WIDTH, write_graph

#: A request for a row of zeros; the answer is the version's number, four times.
REQUEST = {
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, WIDTH], "data": [0.0] * WIDTH}]
}


class Repository:
    """A repository in `root`, and what publishes into it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)

    def publish(self, version: int, name: str = "m", *, adds: int | None = None) -> Path:
        """Write a version beside its place and move it there, as whoever publishes should."""
        builder = GraphBuilder(name)
        x = builder.input("x", (ROWS, WIDTH))
        added = np.full(WIDTH, version if adds is None else adds, np.float32)
        builder.output("y", builder.binary(x, added, Binary.ADD))
        folder = self.root / name / f"{version}.tmp"
        folder.mkdir(parents=True)
        write_graph(builder, folder / "model.plan")
        os.rename(folder, self.version(version, name))
        return self.version(version, name)

    def break_version(self, version: int, name: str = "m") -> Path:
        """A version that cannot be loaded."""
        folder = self.version(version, name)
        folder.mkdir(parents=True)
        (folder / "model.plan").write_bytes(b"nonsense")
        return folder

    def settings(self, text: str, name: str = "m") -> None:
        """What the model's model.toml says."""
        (self.root / name).mkdir(exist_ok=True)
        (self.root / name / "model.toml").write_text(text)

    def version(self, version: int, name: str = "m") -> Path:
        return self.root / name / str(version)
