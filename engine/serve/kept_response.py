"""A response that is kept, from its beginning on, for those who ask for it later.

Knows nothing of its shapes. One that never comes to an end leaves nothing behind.
"""

from collections.abc import Sequence
from dataclasses import replace

from fastapi import Response
from starlette.types import Receive, Scope, Send

from engine.api.events import Accepted, Event, Failed, Finished
from engine.serve.response_store import Kept, ResponseStore
from engine.serve.wire.frames import Frame, Json
from engine.serve.wire.responses_writer import ResponsesWriter


class KeptWriter:
    def __init__(
        self, writer: ResponsesWriter, store: ResponseStore, tenant: str, items: Sequence[Json], previous: str | None
    ) -> None:
        """`items` are those that the request added to the conversation that ends with the response `previous`."""
        self._writer = writer
        self._store = store
        self._tenant = tenant
        self._kept = Kept(writer.whole(), items, previous)

    def opening(self) -> list[Frame]:
        return self._writer.opening()

    def write(self, event: Event) -> list[Frame]:
        frames = self._writer.write(event)
        match event:
            case Accepted(request_id=request_id):
                self._store.put(self._tenant, replace(self._kept, request_id=request_id))
            case Finished():
                self._store.finish(self._tenant, replace(self._kept, response=self._writer.whole()))
            case Failed():
                self._fail()
        return frames

    def whole(self) -> Json:
        return self._writer.whole()

    def ping(self) -> Frame | None:
        return self._writer.ping()

    def let_go(self) -> None:
        """Nobody writes any more: what is still in progress by now never ends."""
        self._store.discard_open(self._tenant, self._kept.id)

    def _fail(self) -> None:
        """What failed before anything was said was answered with an error, not with a response."""
        response = self._writer.whole()
        if response["output"]:
            self._store.finish(self._tenant, replace(self._kept, response=response))
        else:
            self.let_go()


class KeptResponse(Response):
    """An answer whose writer is told when it has been sent, or could not be."""

    def __init__(self, answer: Response, writer: KeptWriter) -> None:
        super().__init__()
        self._answer = answer
        self._writer = writer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._answer(scope, receive, send)
        finally:
            self._writer.let_go()
