"""What goes over the wire while an answer comes, and the protocol of who writes it.

Knows no particular protocol, nothing of HTTP and nothing of the engine but its events.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from engine.api.events import Event

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Frame:
    """One server-sent event."""

    data: Json | str
    """An object, or text that is sent as it stands."""
    event: str | None = None
    """Its name, in protocols that name them."""


@dataclass(frozen=True, slots=True)
class AnswerFacts:
    """What an answer is called; made once for each, so that writers are pure."""

    number: str
    """Random and unguessable; each protocol puts its own prefix before it."""
    model: str
    """As the client is to read it."""
    created: int
    """Seconds since 1970."""


class Writer(Protocol):
    """One answer in a protocol's shapes. Sees every event in order, the last of them `Finished` or `Failed`, whether it
    is streamed or not."""

    def opening(self) -> list[Frame]:
        """Before the first event."""
        ...

    def write(self, event: Event) -> list[Frame]:
        """What an event looks like; nothing for those that a client is not told of. After a terminal event nothing is
        left to be sent."""
        ...

    def whole(self) -> Json:
        """The answer in one piece, once it is finished."""
        ...

    def ping(self) -> Frame | None:
        """What tells a client that waits that it has not been forgotten; `None` for a comment."""
        ...
