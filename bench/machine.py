"""Where a run took place: CPU, instruction set, versions, commit, and who else was busy."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from pelton._cpus import process_cpus
from pelton.bridge import cpu_features, kernel_variants

__all__ = ["ROOT", "Machine", "describe_machine"]

ROOT: Final = Path(__file__).resolve().parent.parent
_PACKAGES: Final = ("pelton", "numpy", "tokenizers", "onnx", "onnxruntime", "starlette", "uvicorn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the results say of the machine and the software."""

    cpu: str
    family: str
    cpus: int
    caches: str
    memory_gb: float
    system: str
    isa: str
    features: tuple[str, ...]
    versions: dict[str, str]
    commit: str
    load: float

    @property
    def slug(self) -> str:
        """The CPU's name as part of a file name."""
        return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((r|tm)\)", "", self.cpu.lower())).strip("-")


def describe_machine() -> Machine:
    """Raises `pelton.Error` where `PELTON_ISA` names an instruction set that this CPU lacks."""
    info = _cpu_info()
    return Machine(
        cpu=info.get("model name", "unknown CPU"),
        family=f"family {info.get('cpu family', '?')} model {info.get('model', '?')}",
        cpus=process_cpus(),
        caches=_caches(),
        memory_gb=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9,
        system=f"{platform.system()} {platform.release()}",
        isa=kernel_variants()["f32_gemm"].rpartition("__")[2],
        features=tuple(name for name, present in cpu_features().items() if present),
        versions=_versions(),
        commit=_commit(),
        load=os.getloadavg()[0],
    )


def _cpu_info() -> dict[str, str]:
    """The first processor of /proc/cpuinfo."""
    first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _caches() -> str:
    """The caches of the first CPU, as "L1 48K, L2 2048K"."""
    shown = []
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            kind = (folder / "type").read_text().strip()
            level = (folder / "level").read_text().strip()
            size = (folder / "size").read_text().strip()
        except OSError:
            continue
        if kind != "Instruction":
            shown.append(f"L{level} {size}")
    return ", ".join(shown) or "unknown"


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "compiler": _compiler()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _output(*command: str) -> str:
    """The first line that a command prints; empty where it fails or is missing."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
        )
    except OSError:
        return ""
    lines = done.stdout.splitlines()
    return lines[0] if done.returncode == 0 and lines else ""


def _compiler() -> str:
    return _output(os.environ.get("CXX", "g++"), "--version") or "unknown"


def _commit() -> str:
    commit = _output("git", "rev-parse", "--short=12", "HEAD") or "unknown"
    dirty = _output("git", "status", "--porcelain", "--untracked-files=no", "--", "kernels", "csrc")
    return f"{commit}, native sources changed" if dirty else commit


def warn_if_busy(machine: Machine) -> None:
    """Says so on stderr where others use the machine: the ratios then rest on the pairing alone."""
    if machine.load > 0.5:
        print(f"bench: the load is {machine.load:.1f}: figures will be noisy", file=sys.stderr)
