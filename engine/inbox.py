"""The one queue between the fronts' threads and the engine's: requests and cancellations, in order.

Knows nothing of what they mean. Closing it is a message too, so nothing submitted before is lost, and nothing after
is accepted.
"""

from collections import deque
from dataclasses import dataclass
from threading import Condition

from engine.api.events import Sink
from engine.api.request import Cancel, Request


@dataclass(frozen=True, slots=True)
class Envelope:
    """A request on its way, with the id it got, who is to hear of it, and when it was submitted (monotonic seconds)."""

    request_id: str
    request: Request
    sink: Sink
    submitted_at: float


Letter = Envelope | Cancel


class Inbox:
    def __init__(self) -> None:
        self._letters: deque[Letter] = deque()
        self._changed = Condition()
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def put(self, letter: Letter) -> bool:
        """Returns whether it was taken; it is not once the inbox is closed."""
        with self._changed:
            if self._closed:
                return False
            self._letters.append(letter)
            self._changed.notify()
            return True

    def drain(self, *, wait: bool, timeout: float | None = None) -> list[Letter]:
        """Everything there is. With `wait`, blocks until there is something, the inbox is closed, or time is up."""
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: bool(self._letters) or self._closed, timeout)
            letters = list(self._letters)
            self._letters.clear()
            return letters

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
