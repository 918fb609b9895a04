"""The native program measures every variant that the lists name and this CPU runs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from bench.kernels.figures import KernelOptions, run_kernels
from bench.machine import ROOT
from bench.native import measure_peak, run_program

from pelton.bridge import cpu_features

LISTED = re.compile(r"^PELTON_KERNEL\((\w+), (\w+)\)", re.MULTILINE)
NEEDS = {
    "generic": set[str](),
    "avx2": {"avx2", "fma", "f16c"},
    "avx512": {"avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512dq"},
}


def listed_variants() -> set[tuple[str, str]]:
    present = {name for name, here in cpu_features().items() if here}
    return {
        (op, isa)
        for path in (ROOT / "kernels" / "lists").glob("*.inc")
        for op, isa in LISTED.findall(path.read_text())
        if NEEDS[isa] <= present
    }


def test_every_variant_of_the_lists_is_measured(program: Path) -> None:
    cases = run_program(program, "kernels", "--tiny", "--rounds", "1")
    measured = {
        (case["op"], entry["isa"])
        for case in cases
        for entry in case["variants"]
        if entry["variant"] != "copy"
    }
    assert measured == listed_variants()
    for case in cases:
        assert case["work"] > 0
        assert all(s > 0 for entry in case["variants"] for s in entry["seconds"])


def test_tables_show_every_op(program: Path) -> None:
    text = run_kernels(KernelOptions(program=program, rounds=1, tiny=True)).markdown()
    for op, isa in listed_variants():
        assert f"### {op}" in text
        assert f"| {isa} |" in text


def test_the_peak_of_each_instruction_set(program: Path) -> None:
    for isa in {isa for _, isa in listed_variants()}:
        peak = measure_peak(program, isa=isa, threads=1, seconds=0.01)
        assert 0.1 < peak.tile < 1000
        assert 0.1 < peak.registers < 1000


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["coffee"],
        ["peak", "--threads", "0"],
        ["peak", "--seconds"],
        ["kernels", "--rounds", "x"],
    ],
)
def test_wrong_usage(program: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "usage" in done.stderr


def test_an_instruction_set_that_does_not_exist(program: Path) -> None:
    with pytest.raises(SystemExit, match="avx3"):
        run_program(program, "peak", "--isa", "avx3")
