"""The HTTP side of a server: Starlette routes, one protocol class, errors as bodies."""

from __future__ import annotations

from pelton.http.application import Application
from pelton.http.protocol import PeltonProtocol
from pelton.http.state import ServerState

__all__ = ["Application", "PeltonProtocol", "ServerState"]
