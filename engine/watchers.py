"""Those who are told how the engine is, once at first and again whenever that has changed.

Knows nothing of what the engine does. They keep nothing awake: they are told in the steps that others cause.
"""

from collections.abc import Callable
from dataclasses import replace

from engine.api.events import Event, Status


class Watchers:
    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._told: dict[str, Status | None] = {}
        """By request; `None` for those that have not been told anything yet."""

    def __len__(self) -> int:
        return len(self._told)

    def add(self, request_id: str) -> None:
        self._told[request_id] = None

    def drop(self, request_id: str) -> None:
        self._told.pop(request_id, None)

    def tell(self, status: Status) -> None:
        """`status` is addressed to whoever has not been told the same already. Memory alone is no news."""
        for request_id, told in self._told.items():
            if told is None or replace(status, request_id=request_id, memory_bytes=told.memory_bytes) != told:
                self._told[request_id] = replace(status, request_id=request_id)
                self._emit(self._told[request_id])
