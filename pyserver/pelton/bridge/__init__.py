"""The border to the native engine: the only package that imports `pelton._native`.

Above it there are errors of the tree, futures of the running loop and one engine per process; below
it status codes, tickets and completion queues.
"""

from __future__ import annotations

from pelton.bridge.engine import (
    NO_DEADLINE,
    Engine,
    LoadedCallback,
    LoadedModel,
    LoadOptions,
    Payload,
    Submission,
    shared_engine,
)
from pelton.bridge.front import (
    Connection,
    EncoderContract,
    Front,
    FrontLimits,
    ServedContract,
    ServedVersion,
)
from pelton.bridge.plan import Plan, PlanTensor, open_plan
from pelton.bridge.system import cpu_features, kernel_variants, xxh64

__all__ = [
    "NO_DEADLINE",
    "Connection",
    "EncoderContract",
    "Engine",
    "Front",
    "FrontLimits",
    "LoadOptions",
    "LoadedCallback",
    "LoadedModel",
    "Payload",
    "Plan",
    "PlanTensor",
    "ServedContract",
    "ServedVersion",
    "Submission",
    "cpu_features",
    "kernel_variants",
    "open_plan",
    "shared_engine",
    "xxh64",
]
