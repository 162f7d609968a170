"""What is loaded now, as the engine last said.

Anyone may read it from any thread at any time: nothing here waits.
"""

from engine.api.events import Event, ModelInfo, Status
from engine.api.request import WatchStatus
from engine.client import EngineClient


class Board:
    def __init__(self) -> None:
        self._status: Status | None = None
        self._watch: tuple[EngineClient, str] | None = None

    @property
    def status(self) -> Status | None:
        """`None` before the engine has said anything."""
        return self._status

    @property
    def model(self) -> ModelInfo | None:
        return self._status.model if self._status else None

    @property
    def loading(self) -> str:
        """The source that is being loaded; empty when none is."""
        return self._status.loading if self._status else ""

    def watch(self, client: EngineClient) -> None:
        """From now on, until `close`."""
        self._watch = client, client.submit(WatchStatus(), self.take)

    def close(self) -> None:
        if self._watch is not None:
            client, request_id = self._watch
            self._watch = None
            client.cancel(request_id)

    def take(self, events: tuple[Event, ...]) -> None:
        """The engine's sink; one reference changes hands, which no lock has to guard."""
        for event in events:
            if isinstance(event, Status):
                self._status = event
