"""The numbers that instructions carry as attributes; those of `csrc/plan/format.h`.

Apart from the graph, because a start from the cache reads model folders and builds no graph.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Activation", "Binary", "Pooling"]


class Activation(IntEnum):
    """Element-wise functions; the plan's numbers."""

    NONE = 0
    RELU = 1
    GELU_ERF = 2
    GELU_TANH = 3
    TANH = 4
    SIGMOID = 5
    SILU = 6


class Pooling(IntEnum):
    """From a sequence's tokens to one row; the plan's numbers."""

    MEAN = 0
    CLS = 1
    MAX = 2
    MEAN_SQRT_LENGTH = 3


class Binary(IntEnum):
    """Element-wise functions of two tensors; the plan's numbers."""

    ADD = 0
    SUBTRACT = 1
    MULTIPLY = 2
    DIVIDE = 3
