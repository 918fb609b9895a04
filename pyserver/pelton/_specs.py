"""What a model takes and gives, as every layer names it."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["TensorSpec"]


class TensorSpec(NamedTuple):
    """One input or output of a model. `dtype` is a datatype of the Open Inference Protocol, such as
    "FP32"; `shape` includes the batch dimension, -1 marks a free dimension."""

    name: str
    dtype: str
    shape: tuple[int, ...]
