"""Inputs of a dense model: every tensor has the rows of the batch on axis 0."""

from __future__ import annotations

from collections.abc import Mapping

from pelton._specs import TensorSpec
from pelton.backends._arrays import as_array, check_finite, check_shape, wrong
from pelton.backends._requests import Prepared, check_names
from pelton.backends.types import Array, InferOptions, InputValue
from pelton.bridge import Plan

__all__ = ["DenseInputs", "dense_specs"]


def dense_specs(plan: Plan) -> tuple[TensorSpec, ...]:
    """The inputs of a dense plan."""
    return tuple(TensorSpec(tensor.name, tensor.dtype, tensor.shape) for tensor in plan.inputs)


class DenseInputs:
    """Checks inputs against a dense plan."""

    def __init__(self, plan: Plan, *, allow_non_finite: bool = False) -> None:
        self._allow_non_finite = allow_non_finite
        self.specs = dense_specs(plan)
        self.alternatives: tuple[TensorSpec, ...] = ()

    def prepare(self, inputs: Mapping[str, InputValue], options: InferOptions) -> Prepared:
        check_names(inputs, self.specs)
        arrays: list[Array] = []
        for spec in self.specs:
            array = as_array(inputs[spec.name], spec.name, spec.dtype, exact=options.exact_dtypes)
            check_shape(array, spec.name, spec.shape)
            if arrays and len(array) != len(arrays[0]):
                first = self.specs[0].name
                expected = f"{len(arrays[0])} rows, as input {first!r} has"
                raise wrong(spec.name, expected, str(len(array)))
            if not self._allow_non_finite:
                check_finite(array, spec.name)
            arrays.append(array)
        return Prepared(arrays=arrays, rows=len(arrays[0]))
