"""What runs a model: one interface, and the engines behind it.

`pelton.backends.onnxruntime` is imported by who needs it.
"""

from __future__ import annotations

from pelton.backends.native import NativeBackend, input_specs
from pelton.backends.types import (
    Backend,
    Inference,
    InferOptions,
    InputValue,
    RaggedIds,
)

__all__ = [
    "Backend",
    "InferOptions",
    "Inference",
    "InputValue",
    "NativeBackend",
    "RaggedIds",
    "input_specs",
]
