"""The records of a plan file, format version 1: `csrc/plan/format.h` in NumPy's words.

A test compares the two. Everything is little-endian.
"""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType
from typing import Final

import numpy as np

__all__ = [
    "DIMS_MAX",
    "DTYPE_NUMBERS",
    "FORMAT_VERSION",
    "HEADER",
    "INSTRUCTION",
    "MAGIC",
    "NAME_BYTES_MAX",
    "NO_TENSOR",
    "OPERANDS_MAX",
    "PANEL_COLUMNS",
    "SECTION",
    "SECTION_ALIGNMENT",
    "TENSOR",
    "WEIGHT_ALIGNMENT",
    "WEIGHT_SECTION_ALIGNMENT",
    "Layout",
    "SectionKind",
]

MAGIC: Final = b"PELTON\0P"
FORMAT_VERSION: Final = 1
DIMS_MAX: Final = 8
OPERANDS_MAX: Final = 12
PANEL_COLUMNS: Final = 16
NO_TENSOR: Final = -1
NAME_BYTES_MAX: Final = 1024
SECTION_ALIGNMENT: Final = 64
WEIGHT_SECTION_ALIGNMENT: Final = 4096
WEIGHT_ALIGNMENT: Final = 64

#: Protocol names of element types to the plan's numbers.
DTYPE_NUMBERS: Final = MappingProxyType(
    {
        name: number
        for number, name in enumerate(
            (
                "BOOL",
                "UINT8",
                "UINT16",
                "UINT32",
                "UINT64",
                "INT8",
                "INT16",
                "INT32",
                "INT64",
                "FP16",
                "BF16",
                "FP32",
                "FP64",
            ),
            start=1,
        )
    }
)


class SectionKind(IntEnum):
    """What a section holds."""

    METADATA = 1
    STRINGS = 2
    TENSORS = 3
    INSTRUCTIONS = 4
    WEIGHTS = 5
    ATTACHMENT = 6


class Layout(IntEnum):
    """How a tensor's elements lie."""

    ROW_MAJOR = 0
    PANELS16 = 1


HEADER: Final = np.dtype(
    [
        ("magic", "S8"),
        ("format_version", "<u4"),
        ("header_bytes", "<u4"),
        ("file_bytes", "<u8"),
        ("section_table_offset", "<u8"),
        ("section_count", "<u4"),
        ("batching", "<u4"),
        ("section_table_xxh64", "<u8"),
        ("reserved", "V72"),
        ("header_xxh64", "<u8"),
    ]
)

SECTION: Final = np.dtype(
    [
        ("kind", "<u4"),
        ("reserved", "<u4"),
        ("offset", "<u8"),
        ("bytes", "<u8"),
        ("xxh64", "<u8"),
        ("name_offset", "<u4"),
        ("name_bytes", "<u4"),
    ]
)

TENSOR: Final = np.dtype(
    [
        ("name_offset", "<u4"),
        ("name_bytes", "<u4"),
        ("role", "u1"),
        ("dtype", "u1"),
        ("rank", "u1"),
        ("layout", "u1"),
        ("weight_section", "<u4"),
        ("dims", "<i8", (DIMS_MAX,)),
        ("weight_offset", "<u8"),
        ("weight_bytes", "<u8"),
    ]
)

INSTRUCTION: Final = np.dtype(
    [
        ("op", "<u2"),
        ("input_count", "u1"),
        ("output_count", "u1"),
        ("reserved", "<u4"),
        ("tensors", "<i4", (OPERANDS_MAX,)),
        ("ints", "<i8", (6,)),
        ("floats", "<f8", (2,)),
        ("reserved2", "<u8"),
    ]
)
