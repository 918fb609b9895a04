"""A decoded request against a model's contract: the names, datatypes, shapes and values it
takes."""

from __future__ import annotations

from collections.abc import Sequence

from pelton.codec._numbers import first_non_finite
from pelton.codec.types import InferRequest, RequestedOutput, Spec, Tensor
from pelton.errors import InvalidInput

__all__ = ["validate"]


def validate(
    request: InferRequest,
    inputs: Sequence[Spec],
    outputs: Sequence[Spec] = (),
    *,
    allow_non_finite: bool = False,
) -> tuple[Tensor, ...]:
    """Check a request and return its inputs in the order of the contract.

    Raises InvalidInput that names the tensor, what the contract expects and what came.
    """
    given = {tensor.name: tensor for tensor in request.inputs}
    if len(given) != len(request.inputs):
        name = _first_repeated([tensor.name for tensor in request.inputs])
        raise _bad(f"input {name!r} comes twice", name, "each input once", "twice")
    _check_input_names(given, inputs)
    for spec in inputs:
        _check_tensor(given[spec.name], spec)
        if not allow_non_finite:
            _check_finite(given[spec.name])
    if request.outputs is not None:
        _check_outputs(request.outputs, outputs)
    return tuple(given[spec.name] for spec in inputs)


def _bad(message: str, tensor: str, expected: str, got: str) -> InvalidInput:
    return InvalidInput(
        f"{message}: expected {expected}, got {got}", tensor=tensor, expected=expected, got=got
    )


def _first_repeated(names: Sequence[str]) -> str:
    return next(name for index, name in enumerate(names) if name in names[:index])


def _listed(names: Sequence[str]) -> str:
    """At most eight names, so that an error stays short whatever the model."""
    shown = ", ".join(map(repr, names[:8]))
    return shown + (", …" if len(names) > 8 else "")


def _check_input_names(given: dict[str, Tensor], inputs: Sequence[Spec]) -> None:
    known = [spec.name for spec in inputs]
    wanted = _listed(known)
    for name in given:
        if name not in known:
            raise _bad(f"there is no input {name!r}", name, f"inputs {wanted}", repr(name))
    for name in known:
        if name not in given:
            came = _listed([*given])
            raise _bad(f"input {name!r} is missing", name, f"inputs {wanted}", f"inputs {came}")


def _check_tensor(tensor: Tensor, spec: Spec) -> None:
    name = spec.name
    if tensor.datatype != spec.dtype:
        raise _bad(f"input {name!r} has the wrong datatype", name, spec.dtype, tensor.datatype)
    expected, got = f"shape {[*spec.shape]}", f"shape {[*tensor.shape]}"
    if len(tensor.shape) != len(spec.shape):
        message = f"input {name!r} has {len(tensor.shape)} dimensions instead of {len(spec.shape)}"
        raise _bad(message, name, expected, got)
    for axis, (dim, wanted) in enumerate(zip(tensor.shape, spec.shape, strict=True)):
        if wanted not in (-1, dim):
            raise _bad(f"dimension {axis} of input {name!r} does not fit", name, expected, got)


def _check_finite(tensor: Tensor) -> None:
    index = first_non_finite(tensor)
    if index is None:
        return
    flat = tensor.array.reshape(-1)
    value = "a BF16 NaN or infinity" if tensor.datatype == "BF16" else str(flat[index])
    raise _bad(
        f"element {index} of input {tensor.name!r} is not finite",
        tensor.name,
        "finite numbers",
        f"{value} at index {index}",
    )


def _check_outputs(requested: Sequence[RequestedOutput], outputs: Sequence[Spec]) -> None:
    known = [spec.name for spec in outputs]
    names = [output.name for output in requested]
    for name in names:
        if name not in known:
            expected = f"outputs {_listed(known)}"
            raise _bad(f"there is no output {name!r}", name, expected, repr(name))
    if len(set(names)) != len(names):
        name = _first_repeated(names)
        raise _bad(f"output {name!r} is asked for twice", name, "each output once", "twice")
