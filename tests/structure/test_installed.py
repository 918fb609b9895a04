"""What `pip install .` left behind: a small module that exports its initializer and no more."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from pathlib import Path

import pytest

from structure.sources import ROOT, binutil, files

WHEEL_BYTES_MAX = 10 * 1024 * 1024


def native_module() -> Path:
    spec = importlib.util.find_spec("pelton._native")
    if spec is None or spec.origin is None:
        pytest.skip("pelton is not installed with its native module: run `make test`")
    return Path(spec.origin)


def test_the_module_exports_its_initializer_only() -> None:
    lines = binutil("nm", "-D", "--defined-only", str(native_module())).splitlines()
    assert [line.split()[-1] for line in lines] == ["PyInit__native"]


def test_the_module_is_stripped_and_small() -> None:
    module = native_module()
    sections = binutil("readelf", "-S", "-W", str(module))
    assert not re.search(r"\.debug_|\.symtab", sections)
    assert module.stat().st_size < WHEEL_BYTES_MAX


def test_the_module_needs_the_system_libraries_only() -> None:
    dynamic = binutil("readelf", "-d", "-W", str(native_module()))
    needed = set(re.findall(r"\(NEEDED\).*\[([^\]]+)\]", dynamic))
    allowed = re.compile(r"lib(stdc\+\+|gcc_s|m|c|pthread)\.so\.\d+|ld-linux-x86-64\.so\.2")
    assert {name for name in needed if not allowed.fullmatch(name)} == set()


def test_the_module_does_not_say_where_it_was_built() -> None:
    dynamic = binutil("readelf", "-d", "-W", str(native_module()))
    assert not re.search(r"R(UN)?PATH", dynamic)
    assert str(ROOT).encode() not in native_module().read_bytes()


def test_the_package_holds_every_source_file() -> None:
    package = native_module().parent
    root = ROOT / "pyserver" / "pelton"
    expected = {path.relative_to(root).as_posix() for path in files("pyserver", ".py", ".pyi")}
    found = {p.relative_to(package).as_posix() for p in package.rglob("*.py*")}
    assert expected <= found


def test_the_licence_travels_with_the_package() -> None:
    metadata = importlib.metadata.metadata("pelton")
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("License-File") or []) == {"LICENSE", "NOTICE"}
