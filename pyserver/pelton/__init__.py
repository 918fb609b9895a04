"""Pelton: an inference server with its own native engine, and that engine as a Python module.

    import pelton

    with pelton.load("path/to/encoder") as model:
        vectors = model.embed(["a sentence", "another"])

Names are loaded when first used: importing the package loads neither the engine nor a web stack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pelton.errors import (
    AlreadyExists,
    BadResponse,
    Cancelled,
    CorruptPlan,
    DeadlineExceeded,
    Error,
    ExpectationFailed,
    Forbidden,
    HeadersTooLarge,
    Internal,
    InvalidInput,
    InvalidSettings,
    MethodNotAllowed,
    ModelNotFound,
    NotAcceptable,
    OutOfMemory,
    PayloadTooLarge,
    QueueFull,
    RequestTimeout,
    RouteNotFound,
    Unavailable,
    Unimplemented,
    UnsupportedMediaType,
    UnsupportedModel,
    UnsupportedPlan,
    UriTooLong,
)

if TYPE_CHECKING:
    from pelton._specs import TensorSpec
    from pelton.app import Server
    from pelton.client import AsyncClient, Client
    from pelton.model import Model, load

__all__ = [
    "AlreadyExists",
    "AsyncClient",
    "BadResponse",
    "Cancelled",
    "Client",
    "CorruptPlan",
    "DeadlineExceeded",
    "Error",
    "ExpectationFailed",
    "Forbidden",
    "HeadersTooLarge",
    "Internal",
    "InvalidInput",
    "InvalidSettings",
    "MethodNotAllowed",
    "Model",
    "ModelNotFound",
    "NotAcceptable",
    "OutOfMemory",
    "PayloadTooLarge",
    "QueueFull",
    "RequestTimeout",
    "RouteNotFound",
    "Server",
    "TensorSpec",
    "Unavailable",
    "Unimplemented",
    "UnsupportedMediaType",
    "UnsupportedModel",
    "UnsupportedPlan",
    "UriTooLong",
    "load",
]

_LAZY = {
    "AsyncClient": "pelton.client",
    "Client": "pelton.client",
    "Model": "pelton.model",
    "Server": "pelton.app",
    "TensorSpec": "pelton._specs",
    "load": "pelton.model",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        # Reading the metadata of the installed distribution takes longer than the whole import.
        from importlib.metadata import version

        return version("pelton")
    if name not in _LAZY:
        raise AttributeError(f"module 'pelton' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
