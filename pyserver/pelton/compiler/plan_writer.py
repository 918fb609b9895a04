"""Graph to plan file: `csrc/plan/format.h`, byte for byte (docs/plan-format.md).

The same graph, metadata and attachments give the same bytes.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pelton.bridge import xxh64
from pelton.compiler import plan_format as fmt
from pelton.compiler.ir import OPS, Graph, Node, Op, Role, Tensor
from pelton.compiler.plan_format import Layout, SectionKind
from pelton.errors import UnsupportedModel

__all__ = ["TEMPORARY", "pack_panels", "plan_bytes", "write_file", "write_plan"]

#: How the names of files end that are not written whole yet.
TEMPORARY: Final = ".tmp"
#: A new weight section is begun beyond this: each has its own checksum, and a plan of several GiB
#: should not be one unit of verification.
WEIGHT_SECTION_BYTES_MAX: Final = 256 << 20


def pack_panels(weight: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[K, N] -> [ceil(N/16), K, 16], columns beyond N zero."""
    depth, columns = weight.shape
    width = fmt.PANEL_COLUMNS
    panels = -(-columns // width)
    packed = np.zeros((panels, depth, width), dtype=np.float32)
    whole = columns // width
    # One assignment per part, so that no padded copy of the whole weight is made first.
    packed[:whole] = weight[:, : whole * width].reshape(depth, whole, width).transpose(1, 0, 2)
    if whole < panels:
        packed[whole, :, : columns - whole * width] = weight[:, whole * width :]
    return packed


def write_plan(
    graph: Graph,
    path: Path,
    metadata: Mapping[str, Any],
    attachments: Mapping[str, bytes],
    mode: int = 0o666,
) -> None:
    """Writes the plan to `path`, which holds the old file or the whole new one at any moment."""
    write_file(path, plan_bytes(graph, metadata, attachments), mode)


def write_file(path: Path, parts: Iterable[bytes], mode: int = 0o666) -> None:
    """Writes to a temporary name in the same folder, syncs, renames. The file gets `mode` less the
    process's umask; the temporary one is removed when something fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}{TEMPORARY}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def plan_bytes(
    graph: Graph, metadata: Mapping[str, Any], attachments: Mapping[str, bytes]
) -> Iterator[bytes]:
    """The file in parts, in order. Raises `UnsupportedModel` for a graph that no plan can hold."""
    strings = _Strings()
    weights = _Weights([t for t in graph.tensors.values() if t.role is Role.WEIGHT], graph)
    names = {name: strings.add(name) for name in attachments}
    first_weights = 4 + len(attachments)
    tensors = _tensor_records(graph, strings, weights, first_weights)
    instructions = _instruction_records(graph)
    text = json.dumps(metadata, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    sections = [
        _Section(SectionKind.METADATA, text.encode()),
        _Section(SectionKind.STRINGS, strings.bytes()),
        _Section(SectionKind.TENSORS, tensors.tobytes()),
        _Section(SectionKind.INSTRUCTIONS, instructions.tobytes()),
        *(_Section(SectionKind.ATTACHMENT, d, *names[n]) for n, d in attachments.items()),
        *(_Section(SectionKind.WEIGHTS, data) for data in weights.sections()),
    ]
    return _assemble(graph.ragged, sections)


@dataclass(frozen=True, slots=True)
class _Section:
    kind: SectionKind
    data: bytes
    name_offset: int = 0
    name_bytes: int = 0


@dataclass(slots=True)
class _Strings:
    """The strings section: each name's place in it."""

    parts: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, text: str) -> tuple[int, int]:
        data = text.encode()
        if not 1 <= len(data) <= fmt.NAME_BYTES_MAX or b"\0" in data:
            raise UnsupportedModel(
                f"name {text[:40]!r}: expected 1 to {fmt.NAME_BYTES_MAX} bytes without NUL, "
                f"got {len(data)}"
            )
        place = (self.size, len(data))
        self.parts.append(data)
        self.size += len(data)
        return place

    def bytes(self) -> bytes:
        return b"".join(self.parts)


class _Weights:
    """Where each weight lies, decided before any is packed: section number, offset, bytes."""

    def __init__(self, tensors: list[Tensor], graph: Graph) -> None:
        self.layouts = _weight_layouts(graph)
        self.places: dict[str, tuple[int, int, int]] = {}
        self._sections: list[list[Tensor]] = []
        used = 0
        for tensor in tensors:
            size = _weight_bytes(tensor, self.layouts[tensor.name])
            if not self._sections or used + size > WEIGHT_SECTION_BYTES_MAX:
                self._sections.append([])
                used = 0
            self._sections[-1].append(tensor)
            self.places[tensor.name] = (len(self._sections) - 1, used, size)
            used += -(-size // fmt.WEIGHT_ALIGNMENT) * fmt.WEIGHT_ALIGNMENT

    def sections(self) -> Iterator[bytes]:
        for tensors in self._sections:
            _, offset, size = self.places[tensors[-1].name]
            data = np.zeros(offset + size, dtype=np.uint8)
            for tensor in tensors:
                _, offset, size = self.places[tensor.name]
                values = _packed(tensor, self.layouts[tensor.name])
                data[offset : offset + size] = values.reshape(-1).view(np.uint8)
            yield data.tobytes()


def _weight_layouts(graph: Graph) -> dict[str, Layout]:
    layouts: dict[str, Layout] = {}
    for node in graph.nodes:
        panels = node.operand("weight") if node.op is Op.GEMM else None
        for name in node.reads():
            if graph.tensors[name].role is not Role.WEIGHT:
                continue
            layout = Layout.PANELS16 if name == panels else Layout.ROW_MAJOR
            if layouts.setdefault(name, layout) is not layout:
                raise UnsupportedModel(
                    f"weight {name!r}: expected a use as a GEMM's weight or as another operand, "
                    "got both"
                )
    for name in graph.tensors:
        layouts.setdefault(name, Layout.ROW_MAJOR)
    return layouts


def _weight_bytes(tensor: Tensor, layout: Layout) -> int:
    *rows, columns = tensor.dims
    if layout is Layout.PANELS16:
        columns = -(-columns // fmt.PANEL_COLUMNS) * fmt.PANEL_COLUMNS
    return int(np.prod(rows, dtype=np.int64)) * columns * np.dtype(np.float32).itemsize


def _packed(tensor: Tensor, layout: Layout) -> npt.NDArray[np.float32]:
    assert tensor.data is not None  # a weight has data
    data = tensor.data.astype(np.float32, copy=False)
    return pack_panels(data) if layout is Layout.PANELS16 else np.ascontiguousarray(data)


def _tensor_records(
    graph: Graph, strings: _Strings, weights: _Weights, first_weights: int
) -> npt.NDArray[Any]:
    records = np.zeros(len(graph.tensors), dtype=fmt.TENSOR)
    for record, tensor in zip(records, graph.tensors.values(), strict=True):
        if len(tensor.dims) > fmt.DIMS_MAX:
            raise UnsupportedModel(
                f"tensor {tensor.name!r}: expected at most {fmt.DIMS_MAX} dimensions, "
                f"got {len(tensor.dims)}"
            )
        record["name_offset"], record["name_bytes"] = strings.add(tensor.name)
        record["role"] = tensor.role
        record["dtype"] = fmt.DTYPE_NUMBERS[tensor.dtype]
        record["rank"] = len(tensor.dims)
        record["dims"][: len(tensor.dims)] = tensor.dims
        if tensor.role is Role.WEIGHT:
            section, offset, size = weights.places[tensor.name]
            record["layout"] = weights.layouts[tensor.name]
            record["weight_section"] = first_weights + section
            record["weight_offset"] = offset
            record["weight_bytes"] = size
    return records


def _instruction_records(graph: Graph) -> npt.NDArray[Any]:
    numbers: dict[str | None, int] = {name: index for index, name in enumerate(graph.tensors)}
    numbers[None] = fmt.NO_TENSOR
    records = np.zeros(len(graph.nodes), dtype=fmt.INSTRUCTION)
    for record, node in zip(records, graph.nodes, strict=True):
        inputs = _plan_operands(node)
        spec = OPS[node.op]
        record["op"] = node.op
        record["input_count"] = len(inputs)
        record["output_count"] = 1
        record["tensors"] = fmt.NO_TENSOR
        operands = [*inputs, node.output]
        record["tensors"][: len(operands)] = [numbers[name] for name in operands]
        record["ints"][: len(spec.ints)] = [int(node.attributes[name]) for name in spec.ints]
        record["floats"][: len(spec.floats)] = [node.attributes[name] for name in spec.floats]
    return records


def _plan_operands(node: Node) -> tuple[str | None, ...]:
    if node.op is not Op.ATTENTION:
        return node.inputs
    if node.operand("k") is not None or node.operand("v") is not None:
        raise UnsupportedModel(
            "attention: expected q, k and v to be products of one input, got separate ones"
        )
    return node.inputs[:1]


def _assemble(ragged: bool, sections: list[_Section]) -> Iterator[bytes]:
    table = np.zeros(len(sections), dtype=fmt.SECTION)
    end = fmt.HEADER.itemsize + table.nbytes
    gaps = []
    for record, section in zip(table, sections, strict=True):
        weights = section.kind is SectionKind.WEIGHTS
        alignment = fmt.WEIGHT_SECTION_ALIGNMENT if weights else fmt.SECTION_ALIGNMENT
        begin = -(-end // alignment) * alignment
        gaps.append(begin - end)
        record["kind"] = section.kind
        record["offset"] = begin
        record["bytes"] = len(section.data)
        record["xxh64"] = xxh64(section.data)
        record["name_offset"] = section.name_offset
        record["name_bytes"] = section.name_bytes
        end = begin + len(section.data)
    yield _header(ragged, end, table).tobytes()
    yield table.tobytes()
    for gap, section in zip(gaps, sections, strict=True):
        yield bytes(gap)
        yield section.data


def _header(ragged: bool, file_bytes: int, table: npt.NDArray[Any]) -> npt.NDArray[Any]:
    header = np.zeros((), dtype=fmt.HEADER)
    header["magic"] = fmt.MAGIC
    header["format_version"] = fmt.FORMAT_VERSION
    header["header_bytes"] = fmt.HEADER.itemsize
    header["file_bytes"] = file_bytes
    header["section_table_offset"] = fmt.HEADER.itemsize
    header["section_count"] = len(table)
    header["batching"] = int(ragged)
    header["section_table_xxh64"] = xxh64(table.tobytes())
    header["header_xxh64"] = xxh64(header.tobytes()[: -header["header_xxh64"].nbytes])
    return header
