"""Tensors in msgpack, under the names of the Open Inference Protocol.

A request is `{"id"?, "parameters"?, "inputs": [tensor], "outputs"?: [{"name"}]}`, an answer
`{"model_name", "model_version", "id"?, "parameters"?, "outputs": [tensor]}`. A tensor is one of

- `{"name", "datatype", "shape", "data"}`, where `data` is a `bin` (little-endian, row-major), or an
  array of numbers, or for BYTES an array of `bin` and `str`;
- a dict of msgpack-numpy, `{"nd": true, "type": "<f4", "kind", "shape", "data"}`;
- an extension of type 0x54: u8 version = 1, u8 datatype, u8 rank, u8 0, rank u32 dimensions, zeros
  up to a multiple of 8, data.

`inputs` may be a map from names to such tensors, and a model of one input may be sent a tensor
alone. Pickled arrays (msgpack-numpy's kind "O") are refused unread.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]
import numpy.typing as npt

from pelton._specs import TensorSpec
from pelton.codec._checks import (
    Where,
    describe,
    element_count,
    read_datatype,
    read_list,
    read_map,
    read_name,
    read_parameters,
    read_shape,
    read_text,
)
from pelton.codec._msgpack import Blob, parse_msgpack
from pelton.codec._numbers import from_elements, read_elements
from pelton.codec._raw import as_memory, deduce_shape, view_raw
from pelton.codec._request import (
    memory_parameters,
    only_input,
    own_parameters,
    read_id,
    read_options,
    read_outputs,
)
from pelton.codec.types import (
    DATATYPES,
    DataType,
    DecodeLimits,
    EncodedBody,
    InferRequest,
    InferResponse,
    SharedMemory,
    Tensor,
)

__all__ = [
    "CONTENT_TYPE",
    "decode_request",
    "decode_response",
    "encode_map",
    "encode_request",
    "encode_response",
]

CONTENT_TYPE: Final = "application/msgpack"

_BLOB_VERSION: Final = 1
_BLOB_HEAD: Final = struct.Struct("<BBBB")
_NUMPY_TYPES: Final = {
    datatype.storage.str: datatype.name
    for datatype in DATATYPES.values()
    if datatype.name not in ("BF16", "BYTES")
}
_NUMBERS_BY_CODE: Final = {datatype.number: datatype for datatype in DATATYPES.values()}

_NO_MEMORY: Final[Mapping[str, SharedMemory]] = MappingProxyType({})

_Data = npt.NDArray[Any] | list[bytes]


def decode_request(
    body: bytes | memoryview, limits: DecodeLimits, specs: Sequence[TensorSpec] | None = None
) -> InferRequest:
    """`specs` are the inputs of the model, needed only for a tensor without a name.

    Raises InvalidInput, or PayloadTooLarge where the body holds more values than allowed.
    """
    root = parse_msgpack(memoryview(body), limits)
    if _is_tensor(root) or isinstance(root, list):
        spec = only_input(specs, "a tensor without a name")
        return InferRequest(inputs=(_read_bare(root, spec, limits),), binary_output_default=True)
    members = read_map(root, Where(""))
    options = read_options(members.get("parameters"), limits)
    inputs = _read_tensors(members.get("inputs"), "inputs", limits)
    if not inputs:
        raise Where("inputs").bad("at least one input", "none")
    return InferRequest(
        inputs=inputs,
        outputs=read_outputs(members.get("outputs"), limits),
        id=read_id(members.get("id"), limits),
        **options,
    )


def decode_response(body: bytes | memoryview, limits: DecodeLimits) -> InferResponse:
    """Raises InvalidInput for an answer that is not of this form."""
    members = read_map(parse_msgpack(memoryview(body), limits), Where(""))
    names = {
        name: read_text(members.get(name), Where(name), limits.string_bytes_max)
        for name in ("model_name", "model_version")
    }
    return InferResponse(
        **names,
        outputs=_read_tensors(members.get("outputs"), "outputs", limits),
        id=read_id(members.get("id"), limits),
        parameters=read_parameters(members.get("parameters"), Where("parameters"), limits),
    )


def _is_tensor(value: Any) -> bool:
    if isinstance(value, dict):
        return "inputs" not in value and ("nd" in value or "data" in value)
    return isinstance(value, Blob) and value.code is not None


def _read_tensors(value: Any, field: str, limits: DecodeLimits) -> tuple[Tensor, ...]:
    where = Where(field)
    if isinstance(value, dict):
        return tuple(
            _read_tensor(item, read_name(name, where, limits), where.at(name).named(name), limits)
            for name, item in value.items()
        )
    tensors = []
    for index, item in enumerate(read_list(value, where, limits.tensors_max)):
        place = where.item(index)
        name = read_name(read_map(item, place).get("name"), place.at("name"), limits)
        tensors.append(_read_tensor(item, name, place.named(name), limits))
    return tuple(tensors)


def _read_bare(value: Any, spec: TensorSpec, limits: DecodeLimits) -> Tensor:
    where = Where("", spec.name)
    if not isinstance(value, list):
        return _read_tensor(value, spec.name, where, limits)
    datatype = DATATYPES[spec.dtype]
    shape = deduce_shape(spec, len(value), where)
    return Tensor(spec.name, spec.dtype, shape, _from_list(value, datatype, shape, where))


def _read_tensor(value: Any, name: str, where: Where, limits: DecodeLimits) -> Tensor:
    if isinstance(value, Blob):
        return _read_blob(value, name, where, limits)
    members = read_map(value, where)
    if "complex" in members:
        raise where.refused("complex numbers are not supported")
    if "nd" in members:
        return _read_numpy(members, name, where, limits)
    data = members.get("data")
    if isinstance(data, dict) or (isinstance(data, Blob) and data.code is not None):
        return _read_wrapped(members, name, where, limits)
    datatype = read_datatype(members.get("datatype"), where.at("datatype"))
    shape = read_shape(members.get("shape"), where.at("shape"), limits)
    place = where.at("data")
    if isinstance(data, Blob):
        count = element_count(shape, where.at("shape"), limits)
        return Tensor(
            name,
            datatype.name,
            shape,
            view_raw(data.raw, datatype, shape, count, place, data.offset),
        )
    return Tensor(name, datatype.name, shape, _from_list(data, datatype, shape, place))


def _read_wrapped(members: dict[str, Any], name: str, where: Where, limits: DecodeLimits) -> Tensor:
    """A tensor whose `data` says its own datatype and shape; they may be repeated beside it."""
    tensor = _read_tensor(members["data"], name, where.at("data"), limits)
    repeated = members.get("datatype", tensor.datatype)
    if repeated != tensor.datatype:
        raise where.at("datatype").bad(f"{tensor.datatype} as in data", describe(repeated))
    repeated = members.get("shape", [*tensor.shape])
    if repeated != [*tensor.shape]:
        raise where.at("shape").bad(f"{[*tensor.shape]} as in data", describe(repeated))
    return tensor


def _from_list(data: Any, datatype: DataType, shape: tuple[int, ...], where: Where) -> _Data:
    elements = read_elements(data, shape, where)
    if datatype.kind != "bytes":
        array = from_elements(elements, datatype, where, infinities=True)
        return array.reshape(shape)
    kinds = set(map(type, elements))
    if not kinds <= {bytes, str}:
        index = next(i for i, item in enumerate(elements) if not isinstance(item, (bytes, str)))
        raise where.item(index).bad("bin or str for BYTES", describe(elements[index]))
    return [item.encode() if isinstance(item, str) else item for item in elements]


def _read_blob(blob: Blob, name: str, where: Where, limits: DecodeLimits) -> Tensor:
    """A tensor in one extension; `_Scan` lets only its type pass."""
    raw, offset = blob.raw, blob.offset
    if blob.code is None:
        raise where.bad("a map or an extension", str(blob), offset)
    if len(raw) < _BLOB_HEAD.size:
        raise where.bad(f"a head of {_BLOB_HEAD.size} bytes", f"{len(raw)} bytes", offset)
    version, number, rank, reserved = _BLOB_HEAD.unpack_from(raw)
    if version != _BLOB_VERSION or reserved:
        raise where.bad(f"version {_BLOB_VERSION} and 0", f"{version} and {reserved}", offset)
    datatype = _NUMBERS_BY_CODE.get(number)
    if datatype is None:
        raise where.bad(f"a datatype from 1 to {len(DATATYPES)}", str(number), offset + 1)
    if rank > limits.rank_max:
        raise where.bad(f"at most {limits.rank_max} dimensions", str(rank), offset + 2)
    head = _BLOB_HEAD.size + 4 * rank
    start = -(-head // 8) * 8
    if len(raw) < start:
        raise where.bad(f"a head of {start} bytes", f"{len(raw)} bytes", offset)
    if any(raw[head:start]):
        raise where.bad("zeros as padding", bytes(raw[head:start]).hex(), offset + head)
    shape = struct.unpack_from(f"<{rank}I", raw, _BLOB_HEAD.size)
    count = element_count(shape, where, limits)
    data = view_raw(raw[start:], datatype, shape, count, where, offset + start)
    return Tensor(name, datatype.name, shape, data)


def _read_numpy(members: dict[str, Any], name: str, where: Where, limits: DecodeLimits) -> Tensor:
    """A dict of lebedov/msgpack-numpy: an array (`nd` true) or a scalar."""
    is_array = members["nd"]
    if not isinstance(is_array, bool):
        raise where.at("nd").bad("true or false", describe(is_array))
    kind = _as_text(members.get("kind", ""))
    if kind == "O":
        raise where.at("kind").refused("pickled arrays are never read; send numbers or strings")
    if kind:
        raise where.at("kind").refused(f"arrays of kind {describe(kind)} are not supported")
    code = _as_text(members.get("type"))
    swapped = isinstance(code, str) and code.startswith(">")
    little = f"<{code[1:]}" if swapped else code
    datatype = DATATYPES.get(_NUMPY_TYPES.get(little, "") if isinstance(little, str) else "")
    if datatype is None:
        raise where.at("type").bad(f"one of {' '.join(_NUMPY_TYPES)}", describe(code))
    shape: tuple[int, ...] = ()
    if is_array:
        shape = read_shape(members.get("shape"), where.at("shape"), limits)
    blob = members.get("data")
    place = where.at("data")
    if not isinstance(blob, Blob) or blob.code is not None:
        raise place.bad("bin", describe(blob))
    count = element_count(shape, where.at("shape"), limits)
    data = view_raw(blob.raw, datatype, shape, count, place, blob.offset)
    if swapped and not isinstance(data, list):
        data = data.view(datatype.storage.newbyteorder(">")).astype(datatype.storage)
    return Tensor(name, datatype.name, shape, data)


def _as_text(value: Any) -> Any:
    """msgpack-numpy sends its words as str or bin, by version."""
    if isinstance(value, Blob) and value.code is None and len(value.raw) <= 16:
        return bytes(value.raw).decode("latin-1")
    return value


def encode_request(request: InferRequest) -> EncodedBody:
    """Encode with each input's data as one `bin` (BYTES: as an array of `bin`)."""
    members: dict[str, Any] = {}
    if request.id is not None:
        members["id"] = request.id
    if parameters := own_parameters(request):
        members["parameters"] = parameters
    if request.outputs is not None:
        members["outputs"] = [{"name": output.name} for output in request.outputs]
    return _assemble(members, "inputs", request.inputs)


def encode_response(
    response: InferResponse,
    media_type: str = CONTENT_TYPE,
    memory: Mapping[str, SharedMemory] = _NO_MEMORY,
) -> EncodedBody:
    """Encode with each output's data as one `bin` (BYTES: as an array of `bin`); those in `memory`,
    by name, with the place of their data only."""
    members: dict[str, Any] = {
        "model_name": response.model_name,
        "model_version": response.model_version,
    }
    if response.id is not None:
        members["id"] = response.id
    if response.parameters:
        members["parameters"] = dict(response.parameters)
    return _assemble(members, "outputs", response.outputs, media_type, memory)


def encode_map(members: dict[str, Any]) -> bytes:
    """A small map of scalars, such as the document of an error."""
    packed: bytes = msgpack.packb(members, unicode_errors="replace")
    return packed


def _assemble(
    members: dict[str, Any],
    field: str,
    tensors: Iterable[Tensor],
    media_type: str = CONTENT_TYPE,
    memory: Mapping[str, SharedMemory] = _NO_MEMORY,
) -> EncodedBody:
    """A map whose last member is the list of tensors, with their data as chunks of their own."""
    tensors = tuple(tensors)
    packer = msgpack.Packer()
    pieces = [packer.pack_map_header(len(members) + 1)]
    for name, value in members.items():
        pieces += [packer.pack(name), packer.pack(value)]
    pieces += [packer.pack(field), packer.pack_array_header(len(tensors))]
    chunks: list[bytes | memoryview] = []
    for tensor in tensors:
        pieces.append(packer.pack_map_header(4))
        head = {"name": tensor.name, "datatype": tensor.datatype, "shape": [*tensor.shape]}
        for name, value in head.items():
            pieces += [packer.pack(name), packer.pack(value)]
        place = memory.get(tensor.name)
        if place is not None:
            pieces += [packer.pack("parameters"), packer.pack(memory_parameters(place))]
            continue
        pieces.append(packer.pack("data"))
        if isinstance(tensor.data, list):
            pieces.append(packer.pack(tensor.data))
            continue
        raw = as_memory(tensor.data)
        pieces.append(_bin_header(len(raw)))
        chunks += [b"".join(pieces), raw]
        pieces = []
    chunks.append(b"".join(pieces))
    return EncodedBody(media_type, {}, tuple(chunk for chunk in chunks if len(chunk)))


def _bin_header(size: int) -> bytes:
    if size < 1 << 8:
        return bytes((0xC4, size))
    if size < 1 << 16:
        return struct.pack(">BH", 0xC5, size)
    return struct.pack(">BI", 0xC6, size)
