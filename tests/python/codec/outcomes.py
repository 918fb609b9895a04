"""What a codec makes of a body, in a form in which the native codecs and the Python ones compare:
a value, or the code, message and details of a refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pelton import _native
from pelton.codec._raw import as_memory
from pelton.codec.types import DATATYPES, InferRequest, Tensor
from pelton.errors import Error

__all__ = ["outcome", "plain_request", "plain_tensor", "same_nans"]


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except _native.NativeProblem as problem:
        return ("refused", problem.code, str(problem), problem.details)
    except Error as error:
        return ("refused", error.code, error.message, error.details)


def plain_tensor(tensor: Tensor) -> tuple[Any, ...]:
    data = tensor.data if isinstance(tensor.data, list) else bytes(as_memory(tensor.data))
    return (tensor.name, tensor.datatype, tensor.shape, data)


def plain_request(request: InferRequest) -> dict[str, Any]:
    """A decoded request as `_native` gives it."""
    wanted = request.outputs or ()
    is_for_python = bool(request.shared_inputs) or any(
        output.classification or output.memory is not None for output in wanted
    )
    if is_for_python:
        return {"is_for_python": True}
    return {
        "is_for_python": False,
        "id": request.id,
        "inputs": [same_nans(plain_tensor(tensor)) for tensor in request.inputs],
        "outputs": [(output.name, output.binary) for output in wanted],
        "parameters": dict(request.parameters),
        "binary_output_default": request.binary_output_default,
        "priority": request.priority,
        "timeout_us": request.timeout_us,
        "truncate": request.truncate,
        "non_finite_null": request.non_finite_null,
    }


def same_nans(tensor: tuple[Any, ...]) -> tuple[Any, ...]:
    """The tensor with every NaN as the same bits: what is left of its payload when a NaN is rounded
    is a matter of the machine."""
    name, datatype, shape, data = tensor
    if DATATYPES[datatype].kind != "float":
        return tensor
    storage = DATATYPES[datatype].storage
    if datatype == "BF16":
        bits = np.frombuffer(data, storage)
        bits = np.where((bits & 0x7FFF) > 0x7F80, np.uint16(0x7FC0), bits)
        return (name, datatype, shape, bits.tobytes())
    values = np.frombuffer(data, storage).copy()
    values[np.isnan(values)] = np.nan
    return (name, datatype, shape, values.tobytes())
