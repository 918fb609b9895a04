"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pelton.client import _core
from pelton.client._arrays import Array
from pelton.client._core import Call, Format, IndexEntry, InferOptions, ModelMetadata, Reply
from pelton.client._http import response_too_large, translated
from pelton.codec.types import ParameterValue
from pelton.errors import Unavailable

if TYPE_CHECKING:
    import httpx

__all__ = ["AsyncClient"]


class AsyncClient:
    """`Client` for asyncio: the same methods, to be awaited, on one event loop.

    Cancelling a call closes its connection, by which the server drops the request.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 60.0,
        headers: Mapping[str, str] | None = None,
        response_bytes_max: int = _core.RESPONSE_BYTES_MAX,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        import httpx  # here, since it takes longer than the rest of the package

        self._http = httpx.AsyncClient(
            base_url=_core.check_url(url),
            headers={"Accept-Encoding": "identity", **(headers or {})},
            transport=transport,
        )
        self._timeout = timeout
        self._response_bytes_max = response_bytes_max

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        outputs: Sequence[str] | None = None,
        version: str | None = None,
        priority: int = 0,
        deadline: float | None = None,
        parameters: Mapping[str, ParameterValue] | None = None,
        format: Format = "binary",  # noqa: A002 - the word for it
    ) -> dict[str, Array]:
        """See `Client.infer`."""
        options = InferOptions(
            outputs=outputs,
            version=version,
            priority=priority,
            deadline=deadline,
            parameters=parameters,
            format=format,
        )
        return _core.read_infer(await self._send(_core.infer_call(model, inputs, options)))

    async def embed(
        self,
        model: str,
        texts: Sequence[str],
        *,
        truncate: bool | None = None,
        deadline: float | None = None,
    ) -> Array:
        """See `Client.embed`."""
        call = _core.embed_call(model, texts, truncate=truncate, deadline=deadline)
        return _core.read_embeddings(await self._send(call))

    async def live(self) -> bool:
        """See `Client.live`."""
        return await self._health("/v2/health/live")

    async def ready(self, model: str | None = None, version: str | None = None) -> bool:
        """See `Client.ready`."""
        path = "/v2/health/ready" if model is None else _core.model_path(model, version) + "/ready"
        return await self._health(path)

    async def metadata(self, model: str, version: str | None = None) -> ModelMetadata:
        """See `Client.metadata`."""
        return _core.read_metadata(await self._get(_core.model_path(model, version)))

    async def models(self) -> list[str]:
        """See `Client.models`."""
        return _core.read_models(await self._get("/v2/models"))

    async def index(self) -> list[IndexEntry]:
        """See `Client.index`."""
        return _core.read_index(await self._send(_core.index_call()))

    async def load(self, model: str) -> None:
        """See `Client.load`."""
        _core.read_done(await self._send(_core.load_call(model)))

    async def unload(self, model: str) -> None:
        """See `Client.unload`."""
        _core.read_done(await self._send(_core.load_call(model, unloads=True)))

    async def close(self) -> None:
        """Close the pooled connections. Idempotent."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _get(self, path: str) -> Reply:
        return await self._send(_core.get_call(path))

    async def _health(self, path: str) -> bool:
        try:
            reply = await self._get(path)
        except Unavailable:
            return False
        return _core.read_health(reply)

    async def _send(self, call: Call) -> Reply:
        seconds = self._timeout if call.seconds is None else min(call.seconds, self._timeout)
        # The timeout of httpx is one of each read; the outer one is of all of them.
        with translated(seconds):
            async with (
                asyncio.timeout(seconds),
                self._http.stream(
                    call.method,
                    call.path,
                    headers=dict(call.headers),
                    content=call.content,
                    timeout=seconds,
                ) as response,
            ):
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > self._response_bytes_max:
                        raise response_too_large(self._response_bytes_max)
                return Reply(response.status_code, response.headers, bytes(body))
