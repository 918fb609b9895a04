"""Compiled plans: opened and validated by native code, described in Python types."""

from __future__ import annotations

import json
import os
from typing import Any, Final, NamedTuple

from pelton import _native
from pelton.bridge._status import native_errors
from pelton.errors import CorruptPlan, ModelNotFound

__all__ = ["DIM_ROWS", "DIM_TOKENS", "Plan", "PlanTensor", "open_plan"]

#: The first dimension of a tensor that has one entry per row, or per token of a ragged batch.
DIM_ROWS: Final = -1
DIM_TOKENS: Final = -2
_VERIFY_BYTES_MAX: Final = 1 << 30


class PlanTensor(NamedTuple):
    """An input or output of a plan. `shape[0]` is `DIM_ROWS` or `DIM_TOKENS`."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class Plan:
    """A validated plan, memory-mapped for as long as this object or a loaded model lives.
    Immutable; thread-safe."""

    def __init__(self, native: _native.Plan, path: str) -> None:
        self.native = native
        self.path = path
        self.ragged = native.ragged
        self.inputs = tuple(PlanTensor(name, dtype, dims) for name, dtype, dims in native.inputs)
        self.outputs = tuple(PlanTensor(name, dtype, dims) for name, dtype, dims in native.outputs)
        try:
            metadata = json.loads(native.metadata)
        except ValueError as error:
            raise CorruptPlan(f"{path}: the metadata is not JSON: {error}") from None
        if not isinstance(metadata, dict):
            raise CorruptPlan(f"{path}: the metadata is not a JSON object")
        self.metadata: dict[str, Any] = metadata

    @property
    def file_bytes(self) -> int:
        return self.native.file_bytes

    @property
    def weight_bytes(self) -> int:
        return self.native.weight_bytes

    @property
    def attachments(self) -> list[str]:
        return self.native.attachments

    def attachment(self, name: str) -> bytes:
        """The bytes of an attachment. Raises `ModelNotFound` where the plan has none so named."""
        with native_errors():
            return self.native.attachment(name)

    def instructions(self) -> list[dict[str, Any]]:
        """The instruction list: op, inputs, outputs and attributes of each."""
        return self.native.instructions()

    def verify_weights(self) -> None:
        """Check every weight section against its checksum, whatever its size. Raises
        `CorruptPlan`."""
        with native_errors():
            self.native.verify_weights()


def open_plan(
    path: str | os.PathLike[str], *, verify_weights_bytes_max: int = _VERIFY_BYTES_MAX
) -> Plan:
    """Map and validate a plan file; weights of up to `verify_weights_bytes_max` bytes are checked
    too. Raises `CorruptPlan`, `UnsupportedPlan`, or `ModelNotFound` where there is no such file."""
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise ModelNotFound(f"{path}: no such plan file", model=path)
    with native_errors():
        return Plan(_native.Plan.open(path, verify_weights_bytes_max), path)
