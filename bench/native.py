"""The native bench programs: built by CMake beside the native tests, speaking lines of JSON."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.machine import ROOT

__all__ = [
    "BUILD",
    "KERNELS",
    "LOADGEN",
    "Peak",
    "build_program",
    "measure_peak",
    "program_path",
    "run_program",
]

BUILD: Final = Path(os.environ.get("PELTON_BUILD_DIR", ROOT / "build" / "release"))
KERNELS: Final = "pelton_bench_kernels"
LOADGEN: Final = "pelton_loadgen"
_BUILD_S_MAX: Final = 1800
_RUN_S_MAX: Final = 600


@dataclass(frozen=True, slots=True)
class Peak:
    """Multiply-adds per second in thousands of millions, all threads together.

    `registers` is of a loop that multiplies in registers only, `tile` of one that loads its
    operands from L1 as the largest GEMM tile does. Each is the median of slices of a millisecond:
    the clock that lasts, and no slice in which a thread was interrupted.
    """

    registers: float
    tile: float


def build_program(target: str = KERNELS) -> Path:
    """Builds a program in `build/release`; what is built already is not built again."""
    tool_folder = Path(sys.executable).parent
    cmake = _tool("cmake", tool_folder)
    configure = [cmake, "--preset", "release", "--log-level=WARNING", "-B", str(BUILD)]
    configure.append(f"-DCMAKE_MAKE_PROGRAM={_tool('ninja', tool_folder)}")
    jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", "2")
    build = [cmake, "--build", str(BUILD), "--target", target, f"-j{jobs}"]
    for command in (configure, build):
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=_BUILD_S_MAX, check=False
        )
        if done.returncode != 0:
            raise SystemExit(f"bench: {' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return program_path(target)


def program_path(target: str = KERNELS) -> Path:
    """Where a program is once it is built."""
    return BUILD / "bench" / target


def _tool(name: str, folder: Path) -> str:
    """A build tool: the environment's own, else the system's."""
    path = shutil.which(name, path=f"{folder}{os.pathsep}{os.environ.get('PATH', '')}")
    if path is None:
        raise SystemExit(f"bench: {name} not found; `make bench` installs it")
    return path


def run_program(program: Path, *arguments: str) -> list[dict[str, Any]]:
    """The lines of JSON that the program prints."""
    done = subprocess.run(
        [str(program), *arguments], capture_output=True, text=True, timeout=_RUN_S_MAX, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"bench: {program.name} {' '.join(arguments)}: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def measure_peak(program: Path, *, isa: str, threads: int, seconds: float) -> Peak:
    """The ceiling of `threads` threads at once."""
    arguments = ("--isa", isa, "--threads", str(threads), "--seconds", str(seconds))
    (line,) = run_program(program, "peak", *arguments)
    return Peak(registers=line["registers"]["median"], tile=line["tile"]["median"])
