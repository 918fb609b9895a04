"""The table of routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pelton.http import _info
from pelton.http._answers import Answer
from pelton.http._embeddings import embeddings
from pelton.http._exchange import Exchange
from pelton.http._infer import infer

__all__ = ["routes"]

_Handler = Callable[[Exchange], Awaitable[Answer]]
_MODEL: Final = "/v2/models/{model}"
_VERSION: Final = "/v2/models/{model}/versions/{version}"


class _Endpoint:
    """A handler as Starlette calls it: an ASGI application that leaves its answer in the scope."""

    def __init__(self, handler: _Handler) -> None:
        self._handler = handler

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        exchange: Exchange = scope["pelton.exchange"]
        exchange.path_params = scope["path_params"]
        scope["pelton.answer"](await self._handler(exchange))


def _route(method: str, path: str, handler: _Handler) -> Route:
    return Route(path, _Endpoint(handler), methods=[method], name=handler.__name__)


def routes() -> list[Route]:
    """Those that carry the load come first."""
    return [
        _route("POST", f"{_MODEL}/infer", infer),
        _route("POST", "/v1/embeddings", embeddings),
        _route("POST", f"{_VERSION}/infer", infer),
        _route("GET", "/v2/health/ready", _info.ready),
        _route("GET", "/v2/health/live", _info.live),
        _route("GET", "/metrics", _info.metrics),
        _route("GET", "/v2", _info.server_metadata),
        _route("GET", "/v2/models", _info.list_models),
        _route("GET", f"{_MODEL}/ready", _info.model_ready),
        _route("GET", f"{_VERSION}/ready", _info.model_ready),
        _route("GET", _MODEL, _info.model_metadata),
        _route("GET", _VERSION, _info.model_metadata),
    ]
