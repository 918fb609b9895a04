"""The checkout as the structure tests see it: its source files, object files, and binutils."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("PELTON_BUILD_DIR", ROOT / "build" / "release"))
SKIPPED_FOLDERS = {"build", "dist", "__pycache__"}


def files(folder: str, *suffixes: str) -> list[Path]:
    """The source files below a folder of the checkout, sorted; no hidden and no build folders."""
    found = []
    for path in sorted((ROOT / folder).rglob("*")):
        parts = path.relative_to(ROOT).parts
        hidden = any(part.startswith(".") or part in SKIPPED_FOLDERS for part in parts)
        if path.is_file() and path.suffix in suffixes and not hidden:
            found.append(path)
    return found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def find_cycle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """One cycle of a graph as a list of its nodes, the first again at the end; empty without."""
    done: set[str] = set()

    def walk(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for following in graph.get(node, ()):
            cycle = walk(following, [*path, node])
            if cycle:
                return cycle
        done.add(node)
        return []

    for start in graph:
        cycle = walk(start, [])
        if cycle:
            return cycle
    return []


def closure(direct: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Every node with all that it reaches: may import X means may import what X may import."""
    reached: dict[str, set[str]] = {}
    for start in direct:
        pending = [start]
        seen: set[str] = set()
        while pending:
            for below in direct[pending.pop()] - seen:
                seen.add(below)
                pending.append(below)
        reached[start] = seen
    return reached


def binutil(tool: str, *arguments: str) -> str:
    """The output of nm, objdump or readelf; skips the test where binutils are missing."""
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"{tool} is missing (Debian: apt-get install binutils)")
    done = subprocess.run(
        [path, *arguments], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout


@functools.cache
def kernel_objects() -> dict[str, Path]:
    """The kernels' object files of the release build by the path of their source."""
    objects = {}
    for path in (BUILD / "kernels").rglob("*.cc.o"):
        match = re.search(r"\.dir/(.+\.cc)\.o$", path.as_posix())
        if match:
            objects["kernels/" + match[1]] = path
    return objects


def isa_objects(isa: str, op: str = "") -> Iterator[tuple[str, Path]]:
    """The release objects of the kernels of one ISA, as (source, object); skips without a build."""
    sources = [p for p in files("kernels/cpu", ".cc") if p.stem.endswith(f"__{isa}")]
    for source in sources:
        if not source.stem.startswith(op):
            continue
        built = kernel_objects().get(name_of(source))
        if built is None:
            pytest.skip(f"{name_of(source)} is not built in {BUILD}: run `make native` first")
        if built.stat().st_mtime < source.stat().st_mtime:
            pytest.skip(f"{name_of(source)} is newer than {built}: run `make native` first")
        yield name_of(source), built
