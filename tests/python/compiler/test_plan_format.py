"""The Python records are those of csrc/plan/format.h, field by field."""

from __future__ import annotations

import re
from enum import IntEnum
from pathlib import Path

import numpy as np
import pytest

from pelton.compiler import ir
from pelton.compiler import plan_format as fmt

FORMAT_H = Path(__file__).parents[3] / "csrc" / "plan" / "format.h"
DTYPE_H = FORMAT_H.parents[1] / "base" / "dtype.h"
C_TYPES = {
    "char": "S1",
    "uint8_t": "u1",
    "uint16_t": "<u2",
    "uint32_t": "<u4",
    "uint64_t": "<u8",
    "int32_t": "<i4",
    "int64_t": "<i8",
    "double": "<f8",
}


def text() -> str:
    return re.sub(r"//.*", "", FORMAT_H.read_text())


def constants() -> dict[str, int]:
    pairs = re.findall(r"inline constexpr u?int\w*(?:\s+int)?\s+(k\w+) = (-?\d+);", text())
    pairs += re.findall(r"inline constexpr int\s+(k\w+) = (-?\d+);", text())
    return {name: int(value) for name, value in pairs}


def struct_fields(name: str) -> list[tuple[str, str, int]]:
    """(name, NumPy type, count) of a struct's members."""
    body = re.search(rf"struct {name} {{(.*?)}};", text(), re.S)
    assert body is not None
    sizes = constants()
    fields = []
    for kind, field, _, count in re.findall(r"(\w+) (\w+)(\[(\w+)\])?;", body.group(1)):
        fields.append((field, C_TYPES[kind], int(sizes.get(count, count or 1))))
    return fields


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("PlanHeader", fmt.HEADER),
        ("SectionRecord", fmt.SECTION),
        ("TensorRecord", fmt.TENSOR),
        ("InstructionRecord", fmt.INSTRUCTION),
    ],
)
def test_records(name: str, dtype: np.dtype[np.void]) -> None:
    fields = struct_fields(name)
    assert dtype.names == tuple(field for field, _, _ in fields)
    offset = 0
    for field, kind, count in fields:
        assert dtype.fields is not None
        member, at = dtype.fields[field][:2]
        assert at == offset, field
        assert member.itemsize == np.dtype(kind).itemsize * count, field
        base = member.subdtype[0] if member.subdtype else member
        if base.kind not in "SV":  # bytes are bytes
            assert base == np.dtype(kind), field
        offset += member.itemsize
    assert dtype.itemsize == offset
    size = re.search(rf"static_assert\(sizeof\({name}\) == (\d+)\)", text())
    assert size is not None
    assert dtype.itemsize == int(size.group(1))


def test_constants() -> None:
    c = constants()
    assert c["kFormatVersion"] == fmt.FORMAT_VERSION
    assert (c["kDimRows"], c["kDimTokens"]) == (ir.ROWS, ir.TOKENS)
    assert c["kNoTensor"] == fmt.NO_TENSOR
    assert (c["kDimsMax"], c["kOperandsMax"]) == (fmt.DIMS_MAX, fmt.OPERANDS_MAX)
    assert c["kPanelColumns"] == fmt.PANEL_COLUMNS
    assert c["kNameBytesMax"] == fmt.NAME_BYTES_MAX
    assert c["kSectionAlignment"] == fmt.SECTION_ALIGNMENT
    assert c["kWeightSectionAlignment"] == fmt.WEIGHT_SECTION_ALIGNMENT
    assert c["kWeightAlignment"] == fmt.WEIGHT_ALIGNMENT
    magic = re.search(r"kMagic\[8\] = {(.*?)}", text())
    assert magic is not None
    characters = re.findall(r"'(\\?.)'", magic.group(1))
    assert "".join(characters).replace("\\0", "\0").encode() == fmt.MAGIC


def enumerators(name: str, path: Path = FORMAT_H) -> dict[str, int]:
    body = re.search(
        rf"enum class {name} : \w+ {{(.*?)}};", re.sub(r"//.*", "", path.read_text()), re.S
    )
    assert body is not None
    return {k: int(v) for k, v in re.findall(r"k(\w+) = (\d+)", body.group(1))}


def camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.lower().split("_"))


@pytest.mark.parametrize(
    ("name", "enum", "aliases"),
    [
        ("SectionKind", fmt.SectionKind, {}),
        ("TensorRole", ir.Role, {}),
        ("TensorLayout", fmt.Layout, {}),
        ("Op", ir.Op, {"Attention": "RaggedAttention"}),
        ("Activation", ir.Activation, {}),
        ("Pooling", ir.Pooling, {}),
        ("Binary", ir.Binary, {}),
    ],
)
def test_enums(name: str, enum: type[IntEnum], aliases: dict[str, str]) -> None:
    ours = {aliases.get(camel(m.name), camel(m.name)): m.value for m in enum}
    assert ours == enumerators(name)


def test_dtypes() -> None:
    numbers = {name.upper(): number for name, number in enumerators("DType", DTYPE_H).items()}
    assert numbers.pop("BYTES") == 14  # no tensor of a plan has it
    assert dict(fmt.DTYPE_NUMBERS) == numbers
