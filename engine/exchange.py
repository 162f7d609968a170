"""One request and the events that answer it, as an iterator in the caller's own thread.

Knows nothing of what the events mean, but for which of them is the last.
"""

from collections import deque
from collections.abc import Iterator
from queue import SimpleQueue
from types import TracebackType

from engine.api.events import Event, Failed, Finished
from engine.api.request import Request
from engine.client import EngineClient


class Exchange(Iterator[Event]):
    """Submits at once. Leaving its `with` block early cancels the request and waits until it has ended."""

    def __init__(self, client: EngineClient, request: Request) -> None:
        self._client = client
        self._arrived: SimpleQueue[tuple[Event, ...]] = SimpleQueue()
        self._pending: deque[Event] = deque()
        self._end: Finished | Failed | None = None
        self.request_id = client.submit(request, self._arrived.put)

    def __next__(self) -> Event:
        if self._end is not None:
            raise StopIteration
        while not self._pending:
            self._pending.extend(self._arrived.get())
        event = self._pending.popleft()
        if isinstance(event, Finished | Failed):
            self._end = event
        return event

    def cancel(self) -> None:
        """Ask for the end; what remains can still be iterated, up to the terminal event."""
        self._client.cancel(self.request_id)

    def finish(self) -> Finished:
        """Skip to the end and return it. Raises the `EngineError` the request failed with."""
        for _ in self:
            pass
        if isinstance(self._end, Failed):
            raise self._end.to_error()
        return self._end

    def __enter__(self) -> "Exchange":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._end is not None:
            return
        self.cancel()
        # Ctrl-C ends the program: it may have struck between two lines here, and waits for nothing.
        if kind is None or not issubclass(kind, KeyboardInterrupt):
            for _ in self:
                pass
