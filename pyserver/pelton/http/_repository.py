"""The extension model_repository: what there is, and loading and unloading it.

Source: triton-inference-server/server `docs/protocol/extension_model_repository.md`. A call names a
model of the repository and nothing else: no folder, file, command or URL comes from a client.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pelton.codec.management import decode_index, decode_load, decode_unload
from pelton.errors import Unavailable, Unimplemented
from pelton.http._answers import Answer, json_answer
from pelton.http._exchange import Exchange
from pelton.http._management import check_local
from pelton.repository import model_names

if TYPE_CHECKING:
    from pelton.http.loading import IndexRow
    from pelton.http.orders import Orders

__all__ = ["index", "load_model", "unload_model"]


async def index(exchange: Exchange) -> Answer:
    """A row for each version, and the name alone of a model that was never loaded."""
    only_ready = decode_index(await exchange.body(), exchange.state.limits)
    rows: list[IndexRow] = await exchange.state.control.collect("index")
    documents = [row.document() for row in rows if not only_ready or row.state == "READY"]
    settings = exchange.state.settings
    if settings.repository and not only_ready:
        known = {row.name for row in rows}
        names = await asyncio.to_thread(_names, settings.repository)
        documents += [{"name": name} for name in names if name not in known]
    return json_answer(documents)


def _names(root: str) -> list[str]:
    try:
        return model_names(root)
    except OSError as error:
        raise Unavailable(f"the repository cannot be read: {error.strerror}") from None


def _orders(exchange: Exchange) -> Orders:
    """Raises `Forbidden` for those it is not for, `Unimplemented` where there is no repository."""
    check_local(exchange)
    if exchange.state.orders is None:
        raise Unimplemented(
            "there is no repository; the setting repository names one", field="repository"
        )
    return exchange.state.orders


async def load_model(exchange: Exchange) -> Answer:
    """When it is served, or was already as it lies there."""
    orders = _orders(exchange)
    decode_load(await exchange.body(), exchange.state.limits)
    await orders.load(exchange.path_params["model"])
    return Answer(200, (), [])


async def unload_model(exchange: Exchange) -> Answer:
    """At once: what is under way is answered."""
    orders = _orders(exchange)
    decode_unload(await exchange.body(), exchange.state.limits)
    await orders.unload(exchange.path_params["model"])
    return Answer(200, (), [])
