"""The events of one request, brought from the engine's thread to the server's event loop.

Knows nothing of what they mean, but for which of them is the last.
"""

import asyncio
import contextlib
from collections.abc import Callable

from engine.api.events import Event, Failed, Finished
from engine.api.request import Request
from engine.client import EngineClient


class Stream:
    """Submits at once; has to be made on the event loop. The engine never waits for it: what is not read yet is kept,
    and that is at most one answer."""

    def __init__(self, client: EngineClient, request: Request) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._pending: list[Event] = []
        self._arrived = asyncio.Event()
        self._on_end: list[Callable[[], None]] = []
        self.ended = False
        """Whether the terminal event has come, read or not."""
        self.request_id = client.submit(request, self._hear)

    async def next(self, timeout: float | None = None) -> tuple[Event, ...]:
        """What has come since the last time, at least one event; nothing after `timeout` seconds without any.

        After the terminal event it must not be asked again.
        """
        if not self._pending:
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._arrived.wait()
        events, self._pending = tuple(self._pending), []
        return events

    def cancel(self) -> None:
        """Ask the engine for the end; what has ended is left alone."""
        if not self.ended:
            self._client.cancel(self.request_id)

    def when_ended(self, act: Callable[[], None]) -> None:
        """Call `act` once the terminal event has come, or now."""
        if self.ended:
            act()
        else:
            self._on_end.append(act)

    def _hear(self, events: tuple[Event, ...]) -> None:
        """The engine's sink. A loop that is closed has nobody left who would listen."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._take, events)

    def _take(self, events: tuple[Event, ...]) -> None:
        self._pending.extend(events)
        self._arrived.set()
        if any(isinstance(event, Finished | Failed) for event in events):
            self.ended = True
            while self._on_end:
                self._on_end.pop()()
