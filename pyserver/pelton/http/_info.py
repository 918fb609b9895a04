"""Health, metadata and metrics."""

from __future__ import annotations

from typing import Any, Final

from pelton._specs import TensorSpec
from pelton.http._answers import Answer, json_answer
from pelton.http._exchange import Exchange
from pelton.metrics import CONTENT_TYPE_OPENMETRICS, CONTENT_TYPE_TEXT, render
from pelton.model import Model

__all__ = [
    "list_models",
    "live",
    "metrics",
    "model_metadata",
    "model_ready",
    "ready",
    "server_metadata",
]

_EXTENSIONS: Final = ("binary_tensor_data", "parameters", "schedule_policy")
_OPENMETRICS: Final = "application/openmetrics-text"
# Rendering is off the loop whatever its size: it grows with the number of models.
_ALWAYS_OFF_LOOP: Final = 1 << 62


async def live(_: Exchange) -> Answer:
    return json_answer({"live": True})


async def ready(exchange: Exchange) -> Answer:
    """503 as soon as the server drains, so that load balancers look elsewhere."""
    is_ready = exchange.state.ready
    return json_answer({"ready": is_ready}, 200 if is_ready else 503)


async def server_metadata(_: Exchange) -> Answer:
    from importlib.metadata import version

    return json_answer(
        {"name": "pelton", "version": version("pelton"), "extensions": [*_EXTENSIONS]}
    )


async def list_models(exchange: Exchange) -> Answer:
    return json_answer({"models": list(exchange.state.models)})


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
            "versions": [model.version],
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
    snapshot = exchange.state.snapshot()
    text = await exchange.off_loop(_ALWAYS_OFF_LOOP, _render, snapshot, openmetrics)
    kind = CONTENT_TYPE_OPENMETRICS if openmetrics else CONTENT_TYPE_TEXT
    return Answer(200, (text,), [(b"content-type", kind.encode())])


def _render(snapshot: Any, openmetrics: bool) -> bytes:
    return render(snapshot, openmetrics=openmetrics)
