"""The engine's events, brought onto the window's thread: one queued signal in, one named signal a kind of event out.

Knows nothing of what the events mean, or of who listens.
"""

from PySide6.QtCore import QObject, Qt, Signal, Slot

from engine.api.events import (
    Accepted,
    Event,
    Failed,
    Finished,
    Progress,
    Status,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)
from engine.api.request import Request
from engine.client import EngineClient


class Bridge(QObject):
    """An `EnginePort` for the window's state; every signal carries the event itself."""

    accepted = Signal(object)
    progressed = Signal(object)
    text_arrived = Signal(object)
    thinking_arrived = Signal(object)
    tool_called = Signal(object)
    finished = Signal(object)
    failed = Signal(object)
    status_changed = Signal(object)

    _arrived = Signal(object)

    def __init__(self, client: EngineClient, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._client = client
        self._signals = {
            Accepted: self.accepted,
            Progress: self.progressed,
            TextDelta: self.text_arrived,
            ThinkingDelta: self.thinking_arrived,
            ToolCallDelta: self.tool_called,
            Finished: self.finished,
            Failed: self.failed,
            Status: self.status_changed,
        }
        # Queued even from this thread: nobody hears of a request before its id has been returned.
        self._arrived.connect(self._on_arrived, Qt.ConnectionType.QueuedConnection)

    def submit(self, request: Request) -> str:
        return self._client.submit(request, self.sink)

    def cancel(self, request_id: str) -> None:
        self._client.cancel(request_id)

    def sink(self, events: tuple[Event, ...]) -> None:
        """Called on the engine's thread."""
        self._arrived.emit(events)

    @Slot(object)
    def _on_arrived(self, events: tuple[Event, ...]) -> None:
        for event in events:
            self._signals[type(event)].emit(event)
