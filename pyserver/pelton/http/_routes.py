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
from pelton.http._embeddings import embeddings
from pelton.http._exchange import Exchange
from pelton.http._infer import infer

if TYPE_CHECKING:
    from starlette.routing import Route, Router
    from starlette.types import Message, Receive, Scope, Send

__all__ = ["Handler", "Routes"]

Handler = Callable[[Exchange], Awaitable[Answer]]

_MODEL: Final = "/v2/models/{model}"
_VERSION: Final = "/v2/models/{model}/versions/{version}"
_EMBEDDINGS: Final = "/v1/embeddings"
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

    from pelton.http import _info

    def route(method: str, path: str, handler: Handler) -> Route:
        return Route(path, _Endpoint(handler), methods=[method], name=handler.__name__)

    return [
        route("POST", f"{_MODEL}/infer", infer),
        route("POST", f"{_VERSION}/infer", infer),
        route("POST", _EMBEDDINGS, embeddings),
        route("GET", "/v2/health/ready", _info.ready),
        route("GET", "/v2/health/live", _info.live),
        route("GET", "/metrics", _info.metrics),
        route("GET", "/v2", _info.server_metadata),
        route("GET", "/v2/models", _info.list_models),
        route("GET", f"{_MODEL}/ready", _info.model_ready),
        route("GET", f"{_VERSION}/ready", _info.model_ready),
        route("GET", _MODEL, _info.model_metadata),
        route("GET", _VERSION, _info.model_metadata),
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
            method, path = scope["method"], exchange.path[:256]
            if error.status_code == 405:
                methods = (error.headers or {}).get("Allow", "").split(",")
                allowed = ", ".join(sorted(method.strip() for method in methods))
                raise MethodNotAllowed("Method Not Allowed", expected=allowed, got=method) from None
            raise RouteNotFound("Not Found", got=f"{method} {path}") from None
        return answers[0]


def _given(params: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in params.items() if value is not None}


async def _never_receive() -> Message:
    raise AssertionError("endpoints read through their Exchange")


async def _never_send(message: Message) -> None:
    raise AssertionError(f"endpoints return their answer, they do not send {message['type']}")
