"""The members that mean the same in every format: parameters and the outputs asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypedDict

from pelton._specs import TensorSpec
from pelton.codec._checks import (
    Where,
    describe,
    read_integer,
    read_list,
    read_map,
    read_name,
    read_parameters,
    read_text,
)
from pelton.codec.types import (
    PRIORITY_DEFAULT,
    PRIORITY_LEVELS,
    DecodeLimits,
    InferRequest,
    ParameterValue,
    RequestedOutput,
    SharedMemory,
)
from pelton.errors import InvalidInput

__all__ = [
    "Options",
    "memory_parameters",
    "only_input",
    "output_parameters",
    "own_parameters",
    "read_id",
    "read_memory",
    "read_options",
    "read_outputs",
    "read_tensor_parameters",
]

_INT64_MAX: Final = 2**63 - 1
_INT32_MAX: Final = 2**31 - 1
_UINT64_MAX: Final = 2**64 - 1
_RESERVED_PREFIX: Final = "triton_"
_SHARED_MEMORY: Final = (
    "shared_memory_region",
    "shared_memory_byte_size",
    "shared_memory_offset",
)


class Options(TypedDict):
    """The fields of an InferRequest that come from its parameters."""

    parameters: dict[str, ParameterValue]
    binary_output_default: bool
    priority: int
    timeout_us: int
    truncate: bool | None
    non_finite_null: bool


def read_id(value: Any, limits: DecodeLimits) -> str | None:
    return None if value is None else read_text(value, Where("id"), limits.string_bytes_max)


def read_options(value: Any, limits: DecodeLimits) -> Options:
    """Sort the request's parameters into those with a meaning and the caller's own."""
    where = Where("parameters")
    own = read_parameters(value, where, limits)
    for name in own:
        if name == "headers" or name.startswith(_RESERVED_PREFIX):
            raise where.at(name).refused("this parameter's name is reserved")
    own = dict(own)
    _refuse_sequence(own, where)
    priority = read_integer(own.pop("priority", 0), where.at("priority"), 0, _UINT64_MAX)
    timeout = read_integer(own.pop("timeout", 0), where.at("timeout"), 0, _INT64_MAX)
    binary = _read_boolean(own, "binary_data_output", where)
    truncate = _read_boolean(own, "truncate", where)
    non_finite = own.pop("non_finite", "literal")
    if non_finite not in ("literal", "null"):
        raise where.at("non_finite").bad('"literal" or "null"', describe(non_finite))
    return Options(
        parameters=own,
        binary_output_default=bool(binary),
        priority=min(priority, PRIORITY_LEVELS) or PRIORITY_DEFAULT,
        timeout_us=timeout,
        truncate=truncate,
        non_finite_null=non_finite == "null",
    )


def own_parameters(request: InferRequest) -> dict[str, ParameterValue]:
    """The inverse of `read_options`: what a client writes; defaults are left out."""
    parameters = dict(request.parameters)
    if request.priority != PRIORITY_DEFAULT:
        parameters["priority"] = request.priority
    if request.timeout_us:
        parameters["timeout"] = request.timeout_us
    if request.binary_output_default:
        parameters["binary_data_output"] = True
    if request.truncate is not None:
        parameters["truncate"] = request.truncate
    if request.non_finite_null:
        parameters["non_finite"] = "null"
    return parameters


def _read_boolean(parameters: dict[str, Any], name: str, where: Where) -> bool | None:
    value = parameters.pop(name, None)
    if value is not None and not isinstance(value, bool):
        raise where.at(name).bad("true or false", describe(value))
    return value


def _refuse_sequence(parameters: dict[str, Any], where: Where) -> None:
    """Sequences are not served; an id of 0 or "" means none, and clients send it with two flags."""
    identity = parameters.pop("sequence_id", None)
    _read_boolean(parameters, "sequence_start", where)
    _read_boolean(parameters, "sequence_end", where)
    if identity is None:
        return
    place = where.at("sequence_id")
    if isinstance(identity, bool) or not isinstance(identity, (int, str)):
        raise place.bad("an unsigned integer or a string", describe(identity))
    if identity not in (0, ""):
        raise place.refused("sequences are not supported; leave it out, or send 0")


def read_tensor_parameters(value: Any, where: Where, limits: DecodeLimits) -> dict[str, Any]:
    """The parameters of one input or output. Unknown ones are ignored whatever their type."""
    if value is None:
        return {}
    parameters = read_map(value, where)
    if len(parameters) > limits.parameters_max:
        raise where.bad(f"at most {limits.parameters_max} parameters", str(len(parameters)))
    return parameters


def read_memory(
    parameters: dict[str, Any], where: Where, limits: DecodeLimits
) -> SharedMemory | None:
    """Where a tensor's bytes lie in shared memory, by its parameters; None: they do not."""
    if not any(name in parameters for name in _SHARED_MEMORY):
        return None
    region, size, offset = (where.at(name) for name in _SHARED_MEMORY)
    name = read_name(parameters.get(_SHARED_MEMORY[0]), region, limits)
    byte_size = read_integer(parameters.get(_SHARED_MEMORY[1]), size, 0, _INT64_MAX)
    start = read_integer(parameters.get(_SHARED_MEMORY[2], 0), offset, 0, _INT64_MAX - byte_size)
    return SharedMemory(name, byte_size, start)


def memory_parameters(memory: SharedMemory) -> dict[str, str | int]:
    """The inverse of `read_memory`."""
    values = (memory.region, memory.byte_size, memory.offset)
    return dict(zip(_SHARED_MEMORY, values, strict=True))


def read_outputs(value: Any, limits: DecodeLimits) -> tuple[RequestedOutput, ...] | None:
    """The outputs asked for; absent or empty is None: all of them."""
    if value is None:
        return None
    where = Where("outputs")
    outputs: list[RequestedOutput] = []
    for index, item in enumerate(read_list(value, where, limits.tensors_max)):
        place = where.item(index)
        output = read_map(item, place)
        name = read_name(output.get("name"), place.at("name"), limits)
        place = place.named(name).at("parameters")
        parameters = read_tensor_parameters(output.get("parameters"), place, limits)
        binary = parameters.get("binary_data", False)
        if not isinstance(binary, bool):
            raise place.at("binary_data").bad("true or false", describe(binary))
        classes = parameters.get("classification", 0)
        classes = read_integer(classes, place.at("classification"), 0, _INT32_MAX)
        memory = read_memory(parameters, place, limits)
        if classes and memory is not None:
            raise place.at("classification").refused("it cannot be put into shared memory")
        outputs.append(RequestedOutput(name, binary, classes, memory))
    return tuple(outputs) or None


def output_parameters(output: RequestedOutput) -> dict[str, Any]:
    """What a client writes of an output that it names."""
    parameters: dict[str, Any] = {"binary_data": output.binary}
    if output.classification:
        parameters["classification"] = output.classification
    if output.memory is not None:
        parameters |= memory_parameters(output.memory)
    return parameters


def only_input(specs: Sequence[TensorSpec] | None, what: str) -> TensorSpec:
    """The input that a tensor without a name is for; `what` names the form that left it out."""
    if specs is None or len(specs) != 1:
        got = "a model of unknown inputs" if specs is None else f"a model of {len(specs)} inputs"
        raise InvalidInput(
            f"{what} needs a model of one input, this is {got}",
            expected="a model of one input",
            got=got,
        )
    return specs[0]
