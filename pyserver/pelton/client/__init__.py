"""Clients of a server of the Open Inference Protocol, blocking and for asyncio."""

from __future__ import annotations

from pelton.client._async import AsyncClient
from pelton.client._core import IndexEntry, ModelMetadata
from pelton.client._sync import Client

__all__ = ["AsyncClient", "Client", "IndexEntry", "ModelMetadata"]
