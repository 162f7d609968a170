"""What the window's state needs of an engine: hand over a request, stop one.

Knows nothing of how answers come back; whoever holds the state hands the events to it.
"""

from typing import Protocol

from engine.api.request import Request


class EnginePort(Protocol):
    def submit(self, request: Request) -> str:
        """Returns the request's id before any of its events is handed to the state."""
        ...

    def cancel(self, request_id: str) -> None: ...
