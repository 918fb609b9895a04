"""Makes tables of what the native program measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.measure import Timing, paired_ratio
from bench.native import Peak, measure_peak, run_program
from bench.report import Section, table

__all__ = ["KernelOptions", "run_kernels"]

#: What moves as many bytes, in the place of a variant.
_COPY: Final = "copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelOptions:
    """`tiny` runs everything once on little, to see that it works: its figures mean nothing."""

    program: Path
    rounds: int = 15
    tiny: bool = False


@dataclass(frozen=True, slots=True)
class _Variant:
    name: str
    isa: str
    timing: Timing


def run_kernels(options: KernelOptions) -> Section:
    """One table per op: rates, the ratio to the variant before it, the share of the ceiling."""
    arguments = ["kernels", "--rounds", str(options.rounds), *(["--tiny"] if options.tiny else [])]
    cases = run_program(options.program, *arguments)
    isas = dict.fromkeys(entry["isa"] for case in cases for entry in case["variants"])
    seconds = 0.01 if options.tiny else 0.4
    peaks = {
        isa: measure_peak(options.program, isa=isa, threads=1, seconds=seconds) for isa in isas
    }
    section = Section("Kernels: one thread, caches warm")
    section.add(
        "Median rate of each variant; how many times faster it is than the variant before it "
        "(paired median); and its share of the ceiling: for matrix products the multiply-adds of "
        "that instruction set with a GEMM's loads from L1, for the others a copy of as many bytes.",
        _peak_table(peaks),
    )
    for op in dict.fromkeys(case["op"] for case in cases):
        section.add(f"### {op}", _op_table([c for c in cases if c["op"] == op], peaks))
    return section


def _peak_table(peaks: Mapping[str, Peak]) -> str:
    rows = [(isa, f"{p.registers:.1f}", f"{p.tile:.1f}") for isa, p in peaks.items()]
    return table(("one thread, GMAC/s", "registers only", "with a GEMM's loads"), rows)


def _op_table(cases: Sequence[Mapping[str, Any]], peaks: Mapping[str, Peak]) -> str:
    unit = "GMAC/s" if cases[0]["unit"] == "MAC" else "elements/ns"
    rows = [row for case in cases for row in _case_rows(case, peaks)]
    return table(("case", "variant", unit, "to the one before", "of the ceiling"), rows)


def _case_rows(case: Mapping[str, Any], peaks: Mapping[str, Peak]) -> list[tuple[str, ...]]:
    found = [
        _Variant(entry["variant"], entry["isa"], Timing(tuple(entry["seconds"])))
        for entry in case["variants"]
    ]
    copy = next((variant.timing for variant in found if variant.name == _COPY), None)
    rows: list[tuple[str, ...]] = []
    previous: Timing | None = None
    for variant in found:
        if variant.name == _COPY:
            continue
        rate = case["work"] / variant.timing.median / 1e9
        ratio = paired_ratio(previous, variant.timing) if previous else None
        share = (
            rate / peaks[variant.isa].tile if copy is None else paired_ratio(copy, variant.timing)
        )
        shown = "" if ratio is None else f"{ratio:.2f}x"
        rows.append((case["case"], variant.isa, f"{rate:.2f}", shown, f"{share:.0%}"))
        previous = variant.timing
    return rows
