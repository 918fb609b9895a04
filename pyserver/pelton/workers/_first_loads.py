"""What every worker is told to load of the repository before it serves."""

from __future__ import annotations

import asyncio
from typing import Any

from pelton.errors import Error
from pelton.http.loading import Note, Order
from pelton.http.orders import Orders
from pelton.model import prepared_path
from pelton.repository import Seen
from pelton.settings import Settings

__all__ = ["FirstLoads", "first_loads"]


class FirstLoads:
    """The commands, and what was seen of the repository. There is no worker yet, so what can be
    loaded is found out here."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.commands: list[tuple[str, Any]] = []
        self.names: list[str] = []
        self.seen: dict[str, Seen] = {}

    async def apply(self, command: str, payload: Any) -> None:
        """Raises for a model that cannot be loaded."""
        if command == "load_model":
            await asyncio.to_thread(self._check, payload)
            self.names.append(payload.name)
        self.commands.append((command, payload))

    def _check(self, order: Order) -> None:
        for version in order.versions:
            try:
                if version.path.endswith(".plan"):  # others have been compiled
                    prepared_path(version.path, self._settings)
            except Error as error:
                note = Note(order.name, version.version, error.message)
                self.commands.append(("note_model", note))
                raise


async def first_loads(settings: Settings) -> FirstLoads:
    """Of the repository of the settings. Raises `InvalidSettings` where it is no folder."""
    found = FirstLoads(settings)
    found.seen = await Orders(settings, found).load_all()
    return found
