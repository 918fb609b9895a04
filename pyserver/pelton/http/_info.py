"""Health, metadata and metrics."""

from __future__ import annotations

import functools
from typing import Any, Final

from pelton._specs import TensorSpec
from pelton.errors import Unimplemented
from pelton.http._answers import Answer, json_answer
from pelton.http._exchange import ALWAYS_OFF_LOOP, Exchange
from pelton.metrics import CONTENT_TYPE_OPENMETRICS, CONTENT_TYPE_TEXT, render
from pelton.model import Model

__all__ = [
    "list_models",
    "live",
    "metrics",
    "model_metadata",
    "model_ready",
    "not_built",
    "openai_model",
    "openai_models",
    "ready",
    "server_metadata",
    "server_version",
]

_EXTENSIONS: Final = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "parameters",
    "schedule_policy",
    "statistics",
)
_OPENMETRICS: Final = "application/openmetrics-text"


async def live(_: Exchange) -> Answer:
    return json_answer({"live": True})


async def ready(exchange: Exchange) -> Answer:
    """503 as soon as the server drains, so that load balancers look elsewhere."""
    is_ready = await exchange.state.control.collect("ready")
    return json_answer({"ready": is_ready}, 200 if is_ready else 503)


async def server_metadata(exchange: Exchange) -> Answer:
    """`extensions` are those that work: tools branch on it."""
    extensions = [*_EXTENSIONS]
    if exchange.state.regions is not None:
        extensions.append("system_shared_memory")
    if exchange.state.loading is not None:
        extensions.append("model_repository")
    return json_answer({"name": "pelton", "version": server_version(), "extensions": extensions})


@functools.cache
def server_version() -> str:
    """The version of the installed distribution, which is read from a file."""
    from importlib.metadata import version

    return version("pelton")


async def list_models(exchange: Exchange) -> Answer:
    return json_answer({"models": list(exchange.state.models)})


def _openai_model(exchange: Exchange, name: str) -> dict[str, Any]:
    created = exchange.state.started_s
    return {"id": name, "object": "model", "created": created, "owned_by": "pelton"}


async def openai_models(exchange: Exchange) -> Answer:
    data = [_openai_model(exchange, name) for name in exchange.state.models]
    return json_answer({"object": "list", "data": data})


async def openai_model(exchange: Exchange) -> Answer:
    name, _ = _requested_model(exchange)
    return json_answer(_openai_model(exchange, name))


async def not_built(exchange: Exchange) -> Answer:
    """What the protocol's extensions have and this server has not."""
    raise Unimplemented(f"{exchange.path[:256]}: this part of the protocol is not implemented")


def _requested_model(exchange: Exchange) -> tuple[str, Model]:
    name = exchange.path_params["model"]
    return name, exchange.state.model(name, exchange.path_params.get("version"))


async def model_ready(exchange: Exchange) -> Answer:
    name, model = _requested_model(exchange)
    is_ready = model.ready and not exchange.state.draining
    return json_answer({"name": name, "ready": is_ready}, 200 if is_ready else 503)


def _tensors(specs: tuple[TensorSpec, ...]) -> list[dict[str, Any]]:
    return [
        {"name": spec.name, "datatype": spec.dtype, "shape": list(spec.shape)} for spec in specs
    ]


async def model_metadata(exchange: Exchange) -> Answer:
    """`parameters` is ours: the inputs that may come instead, and what the plan says of itself."""
    name, model = _requested_model(exchange)
    return json_answer(
        {
            "name": name,
            "versions": [
                found.version
                for found in exchange.state.table.versions(name)
                if exchange.path_params.get("version") in (None, found.version)
            ],
            "platform": model.platform,
            "inputs": _tensors(model.inputs),
            "outputs": _tensors(model.outputs),
            "parameters": {
                "alternative_inputs": _tensors(model.alternative_inputs),
                "limits": model.metadata.get("limits", {}),
                "quantization": model.metadata.get("quantization", "none"),
            },
        }
    )


async def metrics(exchange: Exchange) -> Answer:
    """Prometheus' text format, or OpenMetrics where it is asked for."""
    openmetrics = _OPENMETRICS in exchange.headers.get("accept", "")
    snapshot = await exchange.state.control.collect("snapshot")
    # Whatever its size: it grows with the number of models.
    text = await exchange.off_loop(ALWAYS_OFF_LOOP, _render, snapshot, openmetrics)
    kind = CONTENT_TYPE_OPENMETRICS if openmetrics else CONTENT_TYPE_TEXT
    return Answer(200, (text,), [(b"content-type", kind.encode())])


def _render(snapshot: Any, openmetrics: bool) -> bytes:
    return render(snapshot, openmetrics=openmetrics)
