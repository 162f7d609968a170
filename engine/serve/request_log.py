"""One entry for each request that was answered: who asked what, how it ended and what it took.

Knows nothing of who reads it. What was said is in it only where the settings ask for that.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.api.events import Usage

_TALLY = "fovea.tally"
UNKNOWN_ROUTE = "(none)"
"""Of requests that no route took: unknown paths, and what was refused before."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    time: float
    """When it came, in seconds since 1970."""
    client: str
    """Its address."""
    method: str
    route: str
    """The template, such as `/v1/models/{model_id}`: what was filled in is in no log."""
    status: int
    """0: the client left before anything was sent."""
    duration_ms: float
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    error: str = ""
    """The code of what went wrong."""
    cancelled: bool = False
    """Whether the client left early."""
    question: str = ""
    answer: str = ""
    """Both only with `ServeSettings.log_bodies`."""


Observer = Callable[[LogEntry], None]
"""Called on the server's thread; must return at once and must not raise."""


@dataclass(slots=True)
class Tally:
    """What becomes known of a request while it is answered."""

    number: str = ""
    """Random and unguessable; the client is told it."""
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    error: str = ""
    cancelled: bool = False
    question: str = ""
    answer: str = ""


def tally_of(scope: Scope) -> Tally:
    """One for each request, made where it is first asked for."""
    return scope.setdefault(_TALLY, Tally(secrets.token_hex(12)))


class Logged:
    """The outermost layer: sees all requests, those that are refused as well."""

    def __init__(self, app: ASGIApp, observers: tuple[Observer, ...]) -> None:
        self._app = app
        self._observers = observers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        came, began = time.time(), time.perf_counter()
        tally = tally_of(scope)
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                number = tally.number.encode()
                # Each protocol's clients look for it under a name of their own.
                message["headers"] = [*message["headers"], (b"x-request-id", number), (b"request-id", number)]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            entry = LogEntry(
                time=came,
                client=(scope.get("client") or ("",))[0],
                method=scope["method"],
                route=getattr(scope.get("route"), "path", UNKNOWN_ROUTE),
                status=status,
                duration_ms=1000 * (time.perf_counter() - began),
                usage=tally.usage,
                model=tally.model,
                error=tally.error,
                cancelled=tally.cancelled,
                question=tally.question,
                answer=tally.answer,
            )
            for observe in self._observers:
                observe(entry)
