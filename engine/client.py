"""The way in for every front: hands requests to the engine and returns at once.

Knows nothing of MLX, of threads' owners, or of what a request does. Safe to call from any thread.
"""

import itertools
import time

from engine.api.errors import ClosedError
from engine.api.events import Accepted, Failed, Sink
from engine.api.request import Cancel, Request
from engine.inbox import Envelope, Inbox


class EngineClient:
    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._numbers = itertools.count(1)

    def submit(self, request: Request, sink: Sink) -> str:
        """Queue a request and return its id. `sink` hears of it on the engine's thread, from `Accepted` to the end.

        On a closed engine the sink gets its `Failed` from here, before this returns.
        """
        request_id = f"r{next(self._numbers)}"
        if not self._inbox.put(Envelope(request_id, request, sink, time.monotonic())):
            error = ClosedError("The engine has been shut down.", "Start Fovea again.")
            sink((Accepted(request_id), Failed.from_error(request_id, error)))
        return request_id

    def cancel(self, request_id: str) -> None:
        """Stop a request within one step; a request that has already ended, or never was, is no error."""
        self._inbox.put(Cancel(request_id))

    def close(self) -> None:
        """Shut the engine down: what runs is cancelled, what waits fails, both with their terminal event."""
        self._inbox.close()
