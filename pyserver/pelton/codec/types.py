"""What every codec reads into and writes from: requests and answers that name no wire format.

The types hold views, not copies: a `Tensor` decoded from a body points into that body (often
unaligned, always read-only where the body is), and keeps it alive. Nothing here does I/O or knows
HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

__all__ = [
    "DATATYPES",
    "PRIORITY_DEFAULT",
    "PRIORITY_LEVELS",
    "DataType",
    "DecodeLimits",
    "EncodedBody",
    "InferRequest",
    "InferResponse",
    "ParameterValue",
    "RequestedOutput",
    "SharedInput",
    "SharedMemory",
    "Tensor",
    "bf16_to_f32",
    "datatype_of",
    "f32_to_bf16",
]

ParameterValue = str | int | float | bool
Kind = Literal["bool", "int", "float", "bytes"]

PRIORITY_DEFAULT: Final = 2
PRIORITY_LEVELS: Final = 4


@dataclass(frozen=True, slots=True)
class DataType:
    """One datatype of the Open Inference Protocol.

    `width` is the bytes of one element (0 for BYTES); `storage` the little-endian NumPy dtype of
    its bits: BF16, which NumPy lacks, is stored as uint16. `low` and `high` bound the integers (0
    for the other kinds). `number` names the datatype where one byte must do, here and in plan
    files.
    """

    name: str
    number: int
    kind: Kind
    width: int
    storage: np.dtype[Any]
    low: int = 0
    high: int = 0


def _datatypes() -> dict[str, DataType]:
    storages = {
        "BOOL": "?",
        "UINT8": "u1",
        "UINT16": "<u2",
        "UINT32": "<u4",
        "UINT64": "<u8",
        "INT8": "i1",
        "INT16": "<i2",
        "INT32": "<i4",
        "INT64": "<i8",
        "FP16": "<f2",
        "BF16": "<u2",
        "FP32": "<f4",
        "FP64": "<f8",
        "BYTES": "O",
    }
    table = {}
    for number, (name, text) in enumerate(storages.items(), start=1):
        storage: np.dtype[Any] = np.dtype(text)
        if "INT" in name:
            info = np.iinfo(storage)
            kind: Kind = "int"
            low, high = int(info.min), int(info.max)
        else:
            kind = {"BOOL": "bool", "BYTES": "bytes"}.get(name, "float")  # type: ignore[assignment]
            low = high = 0
        width = 0 if kind == "bytes" else storage.itemsize
        table[name] = DataType(name, number, kind, width, storage, low, high)
    return table


DATATYPES: Final[Mapping[str, DataType]] = MappingProxyType(_datatypes())

_BY_STORAGE: Final = {
    datatype.storage: name for name, datatype in DATATYPES.items() if name not in ("BF16", "BYTES")
}


def datatype_of(dtype: npt.DTypeLike) -> str | None:
    """The OIP datatype of a NumPy dtype of any byte order, or None where there is none.

    Strings, bytes and objects are BYTES; the `bfloat16` that ml_dtypes adds to NumPy is BF16.
    """
    resolved = np.dtype(dtype)
    if resolved.kind in "SUO":
        return "BYTES"
    if resolved.name == "bfloat16":
        return "BF16"
    return _BY_STORAGE.get(resolved.newbyteorder("<"))


def bf16_to_f32(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Widen BF16 bits to float32; exact for every value."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def f32_to_bf16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Round float32 to BF16 bits, to nearest, ties to even; a NaN stays a (quiet) NaN."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    quiet = (bits >> np.uint32(16)) | np.uint32(0x40)
    return np.where(np.isnan(values), quiet, rounded).astype(np.uint16)


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A named value.

    `data` is an array of shape `shape` in the storage dtype of `datatype` (read-only and possibly
    unaligned when it is a view of a body); for BYTES it is the flat, row-major list of elements.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: npt.NDArray[Any] | list[bytes]

    @property
    def array(self) -> npt.NDArray[Any]:
        """`data` of a tensor that is not BYTES."""
        if isinstance(self.data, list):
            raise TypeError(f"tensor {self.name!r} holds BYTES")
        return self.data

    @property
    def elements(self) -> list[bytes]:
        """`data` of a BYTES tensor."""
        if not isinstance(self.data, list):
            raise TypeError(f"tensor {self.name!r} holds {self.datatype}, not BYTES")
        return self.data


@dataclass(frozen=True, slots=True)
class SharedMemory:
    """A piece of a region that a client of this host has registered: a tensor's raw bytes lie
    there, not in the body."""

    region: str
    byte_size: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class SharedInput:
    """An input whose data lies in shared memory; `codec.memory` makes a `Tensor` of it."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    memory: SharedMemory


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output that the caller named.

    `binary` asks for raw bytes instead of JSON numbers; `classification` for the so many largest
    values with their places (0: the values themselves); `memory` says where to put the data.
    """

    name: str
    binary: bool = False
    classification: int = 0
    memory: SharedMemory | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class InferRequest:
    """An inference request, decoded and checked for form, not yet against a model's contract.

    - `shared_inputs` are the inputs whose data is not in the body; the others are `inputs`.
    - `outputs` is None where the caller wants all of them; `binary_output_default` then says in
      which form.
    - `parameters` holds the caller's own parameters; those with a meaning are fields of their own.
    - `priority` is 1 (first) to 4; `timeout_us` is the time the request may wait, 0 for the model's
      default.
    - `truncate` says what to do with texts over the model's limit, None leaves it to the model's
      settings.
    - `non_finite_null` asks for `null` in JSON answers where a number is NaN or infinite.
    """

    inputs: tuple[Tensor, ...]
    shared_inputs: tuple[SharedInput, ...] = ()
    outputs: tuple[RequestedOutput, ...] | None = None
    id: str | None = None
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    binary_output_default: bool = False
    priority: int = PRIORITY_DEFAULT
    timeout_us: int = 0
    truncate: bool | None = None
    non_finite_null: bool = False


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class InferResponse:
    """An answer. `outputs` are in the order asked for, or in the model's order."""

    model_name: str
    model_version: str
    outputs: tuple[Tensor, ...]
    id: str | None = None
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeLimits:
    """Bounds on what a decoder builds from one body; each is checked before the thing it bounds is
    built.

    `nodes_max` and `containers_max` count JSON or msgpack values and, among them, arrays and maps:
    without them a body of empty lists becomes twenty times its size in objects.
    """

    body_bytes_max: int = 64 << 20
    head_bytes_max: int = 16 << 20
    tensors_max: int = 256
    rank_max: int = 16
    elements_max: int = 1 << 31
    nodes_max: int = 4 << 20
    containers_max: int = 1 << 20
    parameters_max: int = 64
    string_bytes_max: int = 1 << 20
    name_bytes_max: int = 256
    digits_max: int = 1024


@dataclass(frozen=True, slots=True)
class EncodedBody:
    """An encoded body: `chunks` in order make the body, whose length is `content_length`; `headers`
    go with it."""

    content_type: str
    headers: Mapping[str, str]
    chunks: Sequence[bytes | memoryview]

    @property
    def content_length(self) -> int:
        return sum(map(len, self.chunks))

    def to_bytes(self) -> bytes:
        return b"".join(self.chunks)
