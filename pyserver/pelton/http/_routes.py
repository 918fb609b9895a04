"""The table of routes, and the two of them that carry the load.

Those are matched here, by one comparison or one regular expression; everything else goes through
Starlette's router, which is loaded for the first such request, or when the server has been
listening for a moment: its imports are a tenth of a start.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from pelton.errors import MethodNotAllowed, RouteNotFound
from pelton.http._answers import Answer
from pelton.http._embeddings import embed, embeddings
from pelton.http._exchange import Exchange
from pelton.http._infer import infer

if TYPE_CHECKING:
    from starlette.routing import Route, Router
    from starlette.types import Message, Receive, Scope, Send

__all__ = ["Handler", "Routes"]

Handler = Callable[[Exchange], Awaitable[Answer]]

_MODEL: Final = "/v2/models/{model}"
_VERSION: Final = "/v2/models/{model}/versions/{version}"
_GENERATE: Final = ("generate", "generate_stream")
_SETTINGS: Final = (
    "/v2/trace/setting",
    f"{_MODEL}/trace/setting",
    f"{_VERSION}/trace/setting",
    "/v2/logging",
)
_REPOSITORY_MODEL: Final = "/v2/repository/models/{model}"
_EMBEDDINGS: Final = "/v1/embeddings"
_SHARED_MEMORY: Final = "/v2/systemsharedmemory"
_CUDA: Final = "/v2/cudasharedmemory"
# Triton's: known, and answered 501.
_NOT_BUILT: Final = (
    *(("POST", f"{base}/{name}") for base in (_MODEL, _VERSION) for name in _GENERATE),
    *((method, path) for method in ("GET", "POST") for path in _SETTINGS),
    ("GET", f"{_CUDA}/status"),
    ("GET", f"{_CUDA}/region/{{region}}/status"),
    ("POST", f"{_CUDA}/region/{{region}}/register"),
    ("POST", f"{_CUDA}/unregister"),
    ("POST", f"{_CUDA}/region/{{region}}/unregister"),
)
_INFER: Final = re.compile(r"/v2/models/(?P<model>[^/]+)(/versions/(?P<version>[^/]+))?/infer")


class _Endpoint:
    """A handler as Starlette calls it: an ASGI application that leaves its answer in the scope."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        exchange: Exchange = scope["pelton.exchange"]
        exchange.path_params = scope["path_params"]
        scope["pelton.answer"](await self._handler(exchange))


def _table() -> list[Route]:
    from starlette.routing import Route

    from pelton.http import _config, _docs, _info, _repository, _shared_memory, _statistics

    def route(method: str, path: str, handler: Handler) -> Route:
        return Route(path, _Endpoint(handler), methods=[method], name=handler.__name__)

    missing = [route(method, path, _info.not_built) for method, path in _NOT_BUILT]
    region = f"{_SHARED_MEMORY}/region/{{region}}"
    return [
        route("POST", f"{_MODEL}/infer", infer),
        route("POST", f"{_VERSION}/infer", infer),
        route("POST", _EMBEDDINGS, embeddings),
        route("POST", "/embed", embed),
        route("GET", "/v2/health/ready", _info.ready),
        route("GET", "/v2/health/live", _info.live),
        route("GET", "/metrics", _info.metrics),
        route("GET", "/v2", _info.server_metadata),
        route("GET", "/v2/models", _info.list_models),
        route("GET", "/v1/models", _info.openai_models),
        route("GET", "/v1/models/{model}", _info.openai_model),
        # Before the model of that name, which there cannot be.
        route("GET", "/v2/models/stats", _statistics.model_statistics),
        route("GET", f"{_MODEL}/stats", _statistics.model_statistics),
        route("GET", f"{_VERSION}/stats", _statistics.model_statistics),
        route("GET", f"{_MODEL}/config", _config.model_config),
        route("GET", f"{_VERSION}/config", _config.model_config),
        route("GET", f"{_MODEL}/ready", _info.model_ready),
        route("GET", f"{_VERSION}/ready", _info.model_ready),
        route("GET", _MODEL, _info.model_metadata),
        route("GET", _VERSION, _info.model_metadata),
        route("GET", f"{_SHARED_MEMORY}/status", _shared_memory.status),
        route("GET", f"{region}/status", _shared_memory.status),
        route("POST", f"{region}/register", _shared_memory.register),
        route("POST", f"{_SHARED_MEMORY}/unregister", _shared_memory.unregister),
        route("POST", f"{region}/unregister", _shared_memory.unregister),
        route("POST", "/v2/repository/index", _repository.index),
        route("POST", f"{_REPOSITORY_MODEL}/load", _repository.load_model),
        route("POST", f"{_REPOSITORY_MODEL}/unload", _repository.unload_model),
        route("GET", "/openapi.json", _docs.openapi),
        route("GET", "/docs", _docs.page),
        *missing,
    ]


class Routes:
    """Finds and runs the handler of a request."""

    def __init__(self) -> None:
        self._starlette: Router | None = None

    def load(self) -> Router:
        """Starlette's router; imports it. Thread-safe: two at once make the same."""
        from starlette.routing import Router

        if self._starlette is None:
            self._starlette = Router(_table(), redirect_slashes=False)
        return self._starlette

    async def answer(self, exchange: Exchange, scope: Scope) -> Answer:
        """Raises `RouteNotFound`, `MethodNotAllowed` with the methods that are, and what the
        handler raises."""
        if scope["method"] == "OPTIONS":
            return Answer(204, (), [(b"allow", self._allowed(scope).encode())])
        if scope["method"] == "POST":
            if exchange.path == _EMBEDDINGS:
                return await embeddings(exchange)
            found = _INFER.fullmatch(exchange.path)
            if found is not None:
                exchange.path_params = _given(found.groupdict())
                return await infer(exchange)
        return await self._through_starlette(exchange, scope)

    async def _through_starlette(self, exchange: Exchange, scope: Scope) -> Answer:
        from starlette.exceptions import HTTPException

        answers: list[Answer] = []
        # The router raises instead of answering by itself where the scope has an "app".
        scope.update({"app": self, "pelton.exchange": exchange, "pelton.answer": answers.append})
        try:
            await self.load()(scope, _never_receive, _never_send)
        except HTTPException as error:
            if error.status_code == 405:
                allowed, method = self._allowed(scope), scope["method"]
                raise MethodNotAllowed("Method Not Allowed", expected=allowed, got=method) from None
            raise _not_found(scope) from None
        return answers[0]

    def _allowed(self, scope: Scope) -> str:
        """The methods of a path, of all its routes. Raises `RouteNotFound` where it has none."""
        from starlette.routing import Match, Route

        methods = {"OPTIONS"}
        for route in self.load().routes:
            is_whole_server = scope["path"] == "*"
            if isinstance(route, Route) and (
                is_whole_server or route.matches(scope)[0] is not Match.NONE
            ):
                methods |= route.methods or set()
        if len(methods) == 1:
            raise _not_found(scope)
        return ", ".join(sorted(methods))


def _not_found(scope: Scope) -> RouteNotFound:
    return RouteNotFound("Not Found", got=f"{scope['method']} {scope['path'][:256]}")


def _given(params: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in params.items() if value is not None}


async def _never_receive() -> Message:
    raise AssertionError("endpoints read through their Exchange")


async def _never_send(message: Message) -> None:
    raise AssertionError(f"endpoints return their answer, they do not send {message['type']}")
