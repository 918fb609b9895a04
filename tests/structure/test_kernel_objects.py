"""What the compiler made of the kernels: no shared inline code, no calls, no spills in tiles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from structure.sources import BUILD, binutil, files, isa_objects, kernel_objects, name_of

# nm's letters of symbols that the linker may merge with another object's: weak, unique, common.
MERGEABLE = set("WwVvuC")
# What a kernel may call: it neither allocates nor throws nor prints.
CALLABLE = re.compile(
    r"_GLOBAL_OFFSET_TABLE_|mem(cpy|move|set)|(exp|exp2|erf|tanh|sqrt|fma|fmax|fmin|lrint|nearbyint|rint|floor)f?"
)
VECTOR = re.compile(r"%[xyz]mm\d+")
# Registers and instructions that an ISA's objects must not use.
WIDE = {
    "generic": re.compile(r"%[yz]mm|%k[1-7]\b|^v[a-z0-9]+ "),
    "avx2": re.compile(r"%zmm|%k[1-7]\b"),
}
# The functions that hold a register tile: one each, so that the compiler allocates for it alone.
TILE = re.compile(r"_tile<")
# A loop with that many multiply-adds is a tile's inner loop.
TILE_MULTIPLY_ADDS = 4


@dataclass
class Function:
    name: str
    addresses: list[int] = field(default_factory=list)
    instructions: list[str] = field(default_factory=list)

    def stack_registers(self) -> str:
        """A pattern for the registers that point into this function's frame."""
        framed = any(re.match(r"mov\s+%rsp,%rbp", line) for line in self.instructions)
        realigned = any(re.match(r"lea\s+.*\(%rsp\),%r10", line) for line in self.instructions)
        return "rsp" + ("|rbp" if framed or realigned else "")

    def vector_stack_references(self, begin: int = 0, end: int | None = None) -> list[str]:
        stack = re.compile(rf"\((%({self.stack_registers()}))\b")
        return [
            line
            for line in self.instructions[begin:end]
            if VECTOR.search(line) and stack.search(line)
        ]

    def inner_loops(self) -> Iterator[tuple[int, int]]:
        """The instruction ranges of the loops that hold no other loop."""
        at = {address: index for index, address in enumerate(self.addresses)}
        loops = []
        for index, line in enumerate(self.instructions):
            jump = re.match(r"j[a-z]+\s+([0-9a-f]+)\b", line)
            if jump and at.get(int(jump[1], 16), index + 1) <= index:
                loops.append((at[int(jump[1], 16)], index + 1))
        for begin, end in loops:
            if not any((b, e) != (begin, end) and begin <= b and e <= end for b, e in loops):
                yield begin, end


def functions(built: Path) -> list[Function]:
    found: list[Function] = []
    for line in binutil("objdump", "-d", "-C", "--no-show-raw-insn", str(built)).splitlines():
        label = re.match(r"[0-9a-f]+ <(.+)>:$", line)
        instruction = re.match(r"\s+([0-9a-f]+):\s+(.+)$", line)
        if label:
            found.append(Function(label[1]))
        elif instruction and found:
            found[-1].addresses.append(int(instruction[1], 16))
            found[-1].instructions.append(instruction[2].strip())
    return found


@pytest.mark.parametrize("isa", ["generic", "avx2", "avx512"])
def test_no_symbol_can_be_merged_with_another_object(isa: str) -> None:
    """Inline code compiled with AVX flags must never be what generic code calls."""
    merged = []
    for source, built in isa_objects(isa):
        for line in binutil("nm", "--defined-only", "-C", str(built)).splitlines():
            _, kind, name = line.split(" ", 2)
            if kind in MERGEABLE:
                merged.append(f"{source}: {kind} {name}")
    assert merged == []


@pytest.mark.parametrize("isa", ["generic", "avx2", "avx512"])
def test_each_object_exports_its_variants_only(isa: str) -> None:
    wrong = []
    for source, built in isa_objects(isa):
        exported = binutil("nm", "--extern-only", "--defined-only", str(built)).splitlines()
        wrong += [f"{source}: {x}" for x in exported if f"__{isa}" not in x.split()[-1]]
    assert wrong == []


@pytest.mark.parametrize("isa", ["generic", "avx2", "avx512"])
def test_kernels_call_nothing_but_arithmetic(isa: str) -> None:
    called = []
    for source, built in isa_objects(isa):
        for line in binutil("nm", "--undefined-only", str(built)).splitlines():
            name = line.split()[-1]
            if not CALLABLE.fullmatch(name):
                called.append(f"{source}: {name}")
    assert called == []


@pytest.mark.parametrize("isa", ["generic", "avx2"])
def test_objects_stay_within_their_instruction_set(isa: str) -> None:
    wrong = []
    for source, built in isa_objects(isa):
        for function in functions(built):
            hits = [line for line in function.instructions if WIDE[isa].search(line)]
            wrong += [f"{source}: {function.name}: {line}" for line in hits[:1]]
    assert wrong == []


def test_the_engine_has_no_wide_instructions() -> None:
    """Everything but the ISA objects runs on any x86-64."""
    engine = sorted((BUILD / "csrc").rglob("*.cc.o"))
    if not engine:
        pytest.skip(f"nothing is built in {BUILD}: run `make native` first")
    plain = [built for source, built in kernel_objects().items() if "__" not in Path(source).stem]
    wrong = []
    for built in engine + plain:
        text = binutil("objdump", "-d", "--no-show-raw-insn", str(built))
        match = re.search(r"%[yz]mm.*", text)
        if match:
            wrong.append(f"{built.name}: {match[0]}")
    assert wrong == []


def tile_loops(isa: str, op: str) -> Iterator[tuple[str, Function, int, int]]:
    for source, built in isa_objects(isa, op):
        tiles = [f for f in functions(built) if TILE.search(f.name)]
        for function in tiles:
            for begin, end in function.inner_loops():
                body = function.instructions[begin:end]
                if sum(line.startswith("vfmadd") for line in body) >= TILE_MULTIPLY_ADDS:
                    yield source, function, begin, end


@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_gemm_loops_keep_accumulators_in_registers(isa: str) -> None:
    """A spilled accumulator costs half of a GEMM's speed; compilers spill at the least change."""
    loops = 0
    spills = []
    for source, function, begin, end in tile_loops(isa, "f32_gemm"):
        loops += 1
        found = function.vector_stack_references(begin, end)
        spills += [f"{source}: {function.name}: {line}" for line in found]
    assert loops > 0, f"no inner loop found in f32_gemm__{isa}"
    assert spills == []


@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_gemm_tiles_do_not_spill_around_the_loop(isa: str) -> None:
    tiles = 0
    spills = []
    for source, built in isa_objects(isa, "f32_gemm"):
        for function in functions(built):
            if not TILE.search(function.name):
                continue
            tiles += 1
            count = len(function.vector_stack_references())
            if count:
                spills.append(f"{source}: {function.name}: {count} stack references")
    assert tiles > 0, f"no tile function in f32_gemm__{isa}"
    assert spills == []


@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_attention_loops_keep_accumulators_in_registers(isa: str) -> None:
    spills = []
    for source, function, begin, end in tile_loops(isa, "f32_attention"):
        found = function.vector_stack_references(begin, end)
        spills += [f"{source}: {function.name}: {line}" for line in found]
    assert spills == []


def test_a_spill_is_found() -> None:
    """The counter itself, on a loop as g++ wrote one with spills."""
    function = Function("spilled")
    for address, line in enumerate(
        [
            "lea    0x8(%rsp),%r10",
            "vmovaps %ymm1,-0x30(%rbp)",
            "vfmadd231ps -0x30(%rbp),%ymm0,%ymm1",
            "vmovups (%rdi),%ymm3",
            "jne    2 <spilled+0x2>",
            "ret",
        ]
    ):
        function.addresses.append(address)
        function.instructions.append(line)
    assert list(function.inner_loops()) == [(2, 5)]
    assert len(function.vector_stack_references()) == 2
    assert len(function.vector_stack_references(2, 5)) == 1


def listed_variants() -> dict[str, list[str]]:
    """The instruction sets of each op, in the order of its list."""
    listed: dict[str, list[str]] = {}
    for path in files("kernels/lists", ".inc"):
        for op, isa in re.findall(
            r"^PELTON_KERNEL\((\w+), (\w+)\)$", path.read_text(), re.MULTILINE
        ):
            assert op == path.stem, f"{name_of(path)} lists another op, {op}"
            listed.setdefault(op, []).append(isa)
    return listed


def test_every_variant_has_a_file_and_every_file_a_variant() -> None:
    """kernels/lists/*.inc is the only list; a kernel that it does not name is never tested."""
    listed = {f"{op}__{isa}" for op, isas in listed_variants().items() for isa in isas}
    defined = {
        name
        for path in files("kernels/cpu", ".cc")
        for name, isa in re.findall(
            r"^void (\w+?__([a-z0-9]+)\w*)\(", path.read_text(), re.MULTILINE
        )
        if path.stem.endswith(f"__{isa}")
    }
    assert listed, "kernels/lists names no variant"
    assert listed - defined == set(), "listed, but no file of that ISA defines it"
    assert defined - listed == set(), "defined, but never listed"


def test_every_op_has_a_variant_for_any_cpu() -> None:
    without = [op for op, isas in listed_variants().items() if isas[0] != "generic"]
    assert without == []
