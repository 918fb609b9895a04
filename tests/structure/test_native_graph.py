"""The C++ folders include each other along the arrows of the architecture only."""

from __future__ import annotations

import re

from structure.sources import ROOT, closure, files, find_cycle, name_of

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.MULTILINE)
# Which folders a folder may include directly; what those may include follows.
ARROWS: dict[str, set[str]] = {
    "base": set(),
    "device": {"base"},
    "memory": {"device"},
    "concurrency": {"memory"},
    "plan": {"concurrency"},
    "exec": {"plan"},
    "serve": {"exec"},
    "text": {"base"},
    "wire": {"base"},
    "control": {"concurrency"},
    "front": {"serve", "text", "wire", "control"},
    "bindings": {"front"},
}
# kernels/include is for exec, and for the one file of base that fills the kernels' feature struct.
KERNEL_USERS = re.compile(r"csrc/(exec/.*|base/cpu_features\.(h|cc))")
PYTHON_HEADERS = re.compile(r"Python\.h|pybind11/.*")

SOURCES = {
    name_of(path): [(kind == '"', name) for kind, name in INCLUDE.findall(path.read_text())]
    for path in files("csrc", ".h", ".cc", ".inl", ".inc")
    + files("kernels", ".h", ".cc", ".inl", ".inc")
}


def test_there_are_sources() -> None:
    assert len(SOURCES) > 10


def test_every_folder_has_its_place() -> None:
    folders = {path.name for path in (ROOT / "csrc").iterdir() if path.is_dir()}
    assert folders <= set(ARROWS), f"folders without a place in the graph: {folders - set(ARROWS)}"


def test_own_includes_are_paths_from_the_root() -> None:
    wrong = [
        f"{source} includes {name}"
        for source, includes in SOURCES.items()
        for own, name in includes
        if own and not (ROOT / name).is_file()
    ]
    assert wrong == []


def test_folders_include_along_the_arrows() -> None:
    allowed = closure(ARROWS)
    wrong = []
    for source, includes in SOURCES.items():
        parts = source.split("/")
        for own, name in includes:
            target = name.split("/")
            if not own or parts[0] != "csrc" or target[0] != "csrc":
                continue
            if target[1] != parts[1] and target[1] not in allowed[parts[1]]:
                wrong.append(f"{source} includes {name}")
    assert wrong == []


def test_kernels_include_only_kernels() -> None:
    wrong = [
        f"{source} includes {name}"
        for source, includes in SOURCES.items()
        for own, name in includes
        if source.startswith("kernels/") and own and not name.startswith("kernels/")
    ]
    assert wrong == []


def test_kernel_interfaces_stand_alone() -> None:
    """What exec sees of the kernels does not pull in their implementation."""
    wrong = [
        f"{source} includes {name}"
        for source, includes in SOURCES.items()
        for own, name in includes
        if source.startswith("kernels/include/")
        and own
        and not name.startswith(("kernels/include/", "kernels/lists/"))
    ]
    assert wrong == []


def test_kernels_are_included_from_exec_only() -> None:
    wrong = [
        f"{source} includes {name}"
        for source, includes in SOURCES.items()
        for own, name in includes
        if source.startswith("csrc/")
        and name.startswith("kernels/")
        and not (name.startswith("kernels/include/") and KERNEL_USERS.fullmatch(source))
    ]
    assert wrong == []


def test_python_is_included_in_the_bindings_only() -> None:
    wrong = [
        f"{source} includes {name}"
        for source, includes in SOURCES.items()
        for _, name in includes
        if PYTHON_HEADERS.fullmatch(name) and not source.startswith("csrc/bindings/")
    ]
    assert wrong == []


def test_no_file_includes_itself_by_a_detour() -> None:
    graph = {
        source: [name for own, name in includes if own] for source, includes in SOURCES.items()
    }
    assert find_cycle(graph) == []


def test_headers_are_guarded_once() -> None:
    unguarded = [
        source
        for source in SOURCES
        if source.endswith(".h") and "#pragma once" not in (ROOT / source).read_text()
    ]
    assert unguarded == []


def test_a_cycle_is_found() -> None:
    assert find_cycle({"a": ["b"], "b": ["c"], "c": ["b"]}) == ["b", "c", "b"]
    assert find_cycle({"a": ["b", "c"], "b": ["c"], "c": []}) == []
