"""The JSON part of the Open Inference Protocol v2, with or without raw tensors behind it.

Sources: kserve/open-inference-protocol `inference_rest.md`; the extension `binary_tensor_data` of
triton-inference-server/server `docs/protocol/extension_binary_data.md`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pelton.codec._checks import (
    Where,
    describe,
    element_count,
    read_datatype,
    read_integer,
    read_list,
    read_map,
    read_name,
    read_parameters,
    read_shape,
    read_text,
)
from pelton.codec._json import Document
from pelton.codec._numbers import from_elements, read_elements, to_values
from pelton.codec._raw import raw_bytes, view_raw
from pelton.codec._request import (
    memory_parameters,
    output_parameters,
    own_parameters,
    read_id,
    read_memory,
    read_options,
    read_outputs,
    read_tensor_parameters,
)
from pelton.codec.types import (
    DataType,
    DecodeLimits,
    InferRequest,
    InferResponse,
    SharedInput,
    SharedMemory,
    Tensor,
)
from pelton.errors import InvalidInput

__all__ = [
    "LENGTH_HEADER",
    "BinarySection",
    "OutputForm",
    "read_request",
    "read_response",
    "request_head",
    "response_head",
]

LENGTH_HEADER: Final = "Inference-Header-Content-Length"

#: How a tensor is written: raw or not, or as the name of the memory that its bytes were put into.
OutputForm = bool | SharedMemory


class BinarySection:
    """The raw tensors behind the JSON part, handed out in order.

    `start` is the offset of `raw` in the body, for error texts.
    """

    def __init__(self, raw: memoryview, start: int) -> None:
        self._raw = raw
        self._start = start
        self._used = 0

    @property
    def remaining(self) -> int:
        return len(self._raw) - self._used

    @property
    def offset(self) -> int:
        return self._start + self._used

    def take(self, size: int, where: Where) -> memoryview:
        if size > self.remaining:
            raise where.bad(f"{size} bytes of data", f"{self.remaining} bytes left", self.offset)
        piece = self._raw[self._used : self._used + size]
        self._used += size
        return piece

    def finish(self) -> None:
        if self.remaining:
            raise InvalidInput(
                f"unexpected additional input data: {self.remaining} bytes behind the last "
                f"tensor, at byte {self.offset}",
                expected="the sum of binary_data_size",
                got=f"{self.remaining} bytes more",
                offset=self.offset,
            )


def read_request(
    document: Document, section: BinarySection | None, limits: DecodeLimits
) -> InferRequest:
    root = read_map(document.value, Where(""))
    reader = _TensorReader(document, section, limits)
    inputs = reader.read_all(root.get("inputs"), "inputs")
    if not inputs and not reader.shared:
        raise Where("inputs").bad("at least one input", "an empty array")
    return InferRequest(
        inputs=inputs,
        shared_inputs=tuple(reader.shared),
        outputs=read_outputs(root.get("outputs"), limits),
        id=read_id(root.get("id"), limits),
        **read_options(root.get("parameters"), limits),
    )


def read_response(
    document: Document, section: BinarySection | None, limits: DecodeLimits
) -> InferResponse:
    root = read_map(document.value, Where(""))
    reader = _TensorReader(document, section, limits)
    outputs = reader.read_all(root.get("outputs"), "outputs")
    if reader.shared:
        raise InvalidInput(
            "outputs: the data is in shared memory, which is not read here",
            tensor=reader.shared[0].name,
        )
    version = root.get("model_version")
    return InferResponse(
        model_name=read_text(root.get("model_name"), Where("model_name"), limits.string_bytes_max),
        model_version=""
        if version is None
        else read_text(version, Where("model_version"), limits.string_bytes_max),
        outputs=outputs,
        id=read_id(root.get("id"), limits),
        parameters=read_parameters(root.get("parameters"), Where("parameters"), limits),
    )


class _TensorReader:
    """Reads a list of tensors, whose data is in the document or in the binary section; those whose
    data is in neither go to `shared`."""

    def __init__(
        self, document: Document, section: BinarySection | None, limits: DecodeLimits
    ) -> None:
        self._document = document
        self._section = section
        self._limits = limits
        self.shared: list[SharedInput] = []

    def read_all(self, value: Any, field: str) -> tuple[Tensor, ...]:
        items = read_list(value, Where(field), self._limits.tensors_max)
        alone = len(items) == 1
        tensors = []
        for index, item in enumerate(items):
            tensor = self._read(item, Where(f"{field}[{index}]"), alone=alone)
            if isinstance(tensor, SharedInput):
                self.shared.append(tensor)
            else:
                tensors.append(tensor)
        if self._section is not None:
            self._section.finish()
        return tuple(tensors)

    def _read(self, value: Any, where: Where, *, alone: bool) -> Tensor | SharedInput:
        members = read_map(value, where)
        name = read_name(members.get("name"), where.at("name"), self._limits)
        where = where.named(name)
        datatype = read_datatype(members.get("datatype"), where.at("datatype"))
        place = where.at("shape")
        shape = read_shape(members.get("shape"), place, self._limits)
        count = element_count(shape, place, self._limits)
        place = where.at("parameters")
        parameters = read_tensor_parameters(members.get("parameters"), place, self._limits)
        memory = read_memory(parameters, place, self._limits)
        if memory is not None:
            if members.get("data") is not None or "binary_data_size" in parameters:
                raise place.refused("a tensor in shared memory has no other data")
            return SharedInput(name, datatype.name, shape, memory)
        size = self._binary_size(members, parameters, where, alone=alone)
        if size is None:
            data = self._from_json(members.get("data"), datatype, shape, where.at("data"))
        else:
            assert self._section is not None
            place = where.at("data")
            offset = self._section.offset
            raw = self._section.take(size, place)
            data = view_raw(raw, datatype, shape, count, place, offset)
        return Tensor(name, datatype.name, shape, data)

    def _binary_size(
        self, members: dict[str, Any], parameters: dict[str, Any], where: Where, *, alone: bool
    ) -> int | None:
        """The bytes of the binary section that are this tensor's, None where its data is JSON."""
        if "binary_data_size" not in parameters:
            # OpenVINO Model Server's rule: a single tensor may leave its size to be inferred.
            if alone and self._section is not None and members.get("data") is None:
                return self._section.remaining
            return None
        place = where.at("parameters").at("binary_data_size")
        size = read_integer(parameters["binary_data_size"], place, 0, 2**63 - 1)
        if members.get("data") is not None:
            raise place.refused("a tensor has either data or binary_data_size, not both")
        if self._section is None:
            if size:
                raise place.refused(f"binary data needs the header {LENGTH_HEADER}")
            self._section = BinarySection(memoryview(b""), 0)
        return size

    def _from_json(
        self, data: Any, datatype: DataType, shape: tuple[int, ...], where: Where
    ) -> Any:
        elements = read_elements(data, shape, where)
        if datatype.kind == "bytes":
            return _encode_strings(elements, where)
        array = from_elements(elements, datatype, where, infinities=self._document.has_infinity)
        return array.reshape(shape)


def _encode_strings(elements: list[Any], where: Where) -> list[bytes]:
    if not set(map(type, elements)) <= {str}:
        index = next(index for index, item in enumerate(elements) if not isinstance(item, str))
        raise where.item(index).bad("a string for BYTES", describe(elements[index]))
    return [element.encode() for element in elements]


def request_head(request: InferRequest, binary: bool) -> tuple[dict[str, Any], list[Any]]:
    """The JSON part of a request and the raw chunks behind it; `binary` sends every input raw."""
    head: dict[str, Any] = {}
    if request.id is not None:
        head["id"] = request.id
    if parameters := own_parameters(request):
        head["parameters"] = parameters
    head["inputs"], chunks = _write_tensors([(tensor, binary) for tensor in request.inputs])
    head["inputs"] += [
        {
            "name": tensor.name,
            "shape": [*tensor.shape],
            "datatype": tensor.datatype,
            "parameters": memory_parameters(tensor.memory),
        }
        for tensor in request.shared_inputs
    ]
    if request.outputs is not None:
        head["outputs"] = [
            {"name": output.name, "parameters": output_parameters(output)}
            for output in request.outputs
        ]
    return head, chunks


def response_head(
    response: InferResponse, outputs: Iterable[tuple[Tensor, OutputForm]], *, non_finite_null: bool
) -> tuple[dict[str, Any], list[Any]]:
    """The JSON part of an answer and the raw chunks behind it, for outputs and their form."""
    head: dict[str, Any] = {
        "model_name": response.model_name,
        "model_version": response.model_version,
    }
    if response.id is not None:
        head["id"] = response.id
    if response.parameters:
        head["parameters"] = dict(response.parameters)
    head["outputs"], chunks = _write_tensors(outputs, non_finite_null=non_finite_null)
    return head, chunks


def _write_tensors(
    tensors: Iterable[tuple[Tensor, OutputForm]], *, non_finite_null: bool = False
) -> tuple[list[dict[str, Any]], list[bytes | memoryview]]:
    written: list[dict[str, Any]] = []
    chunks: list[bytes | memoryview] = []
    for tensor, form in tensors:
        members: dict[str, Any] = {
            "name": tensor.name,
            "shape": [*tensor.shape],
            "datatype": tensor.datatype,
        }
        if isinstance(form, SharedMemory):
            members["parameters"] = memory_parameters(form)
        elif form:
            raw = raw_bytes(tensor)
            members["parameters"] = {"binary_data_size": len(raw)}
            if len(raw):
                chunks.append(raw)
        else:
            members["data"] = _json_data(tensor, non_finite_null=non_finite_null)
        written.append(members)
    return written, chunks


def _json_data(tensor: Tensor, *, non_finite_null: bool) -> list[Any]:
    if not isinstance(tensor.data, list):
        return to_values(tensor, non_finite_null=non_finite_null)
    try:
        return [str(element, "utf-8") for element in tensor.data]
    except UnicodeDecodeError:
        raise InvalidInput(
            f"{tensor.name!r} holds bytes that are not UTF-8, which JSON cannot carry: "
            "ask for it as binary data",
            tensor=tensor.name,
            expected="binary_data: true",
        ) from None
