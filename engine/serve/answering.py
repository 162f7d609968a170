"""One answer as an HTTP response: a place in the queue, the media, the engine's events, the client's going away.

Streamed or whole is the last step alone. Knows no protocol and no model.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fastapi import Response
from starlette.types import Receive, Scope, Send

from engine.api.errors import ClosedError
from engine.api.events import (
    Accepted,
    Event,
    Failed,
    Finished,
    FinishReason,
    TerminalEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)
from engine.api.request import GenerateRequest
from engine.reply import Reply
from engine.serve import sse
from engine.serve.admission import Slot, sizes_of
from engine.serve.failures import Overloaded, failure_of
from engine.serve.request_log import Tally, tally_of
from engine.serve.stream import Stream
from engine.serve.wire.frames import Frame, Writer

if TYPE_CHECKING:
    from engine.serve.desk import Desk

_MOST_LOGGED = 20_000
"""Characters of a question or an answer."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, of whom, and how the answer is written."""

    request: GenerateRequest
    writer: Writer
    model: str
    stream: bool


class _Stalled(Exception):
    """The client has not taken what it was sent."""


class AnswerResponse(Response):
    """Does everything when it is sent. Raises `EngineError` as long as nothing has been sent; an error that comes later
    goes into the stream."""

    def __init__(self, desk: "Desk", question: Question) -> None:
        super().__init__()
        self._desk = desk
        self._question = question
        self._events: Stream | None = None
        self._stopped = False

    def stop(self) -> None:
        """The server ends: what has not ended by itself does so now."""
        self._stopped = True
        if self._events is not None:
            self._events.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tally = tally_of(scope)
        tally.model = self._question.model
        slot = self._desk.admission.admit(self._question.request.tenant, *sizes_of(self._question.request))
        self._desk.answers.add(self)
        work = asyncio.ensure_future(self._work(slot, tally, send))
        leaving = asyncio.ensure_future(left(receive))
        try:
            await asyncio.wait((work, leaving), return_when=asyncio.FIRST_COMPLETED)
            tally.cancelled = not work.done()
        finally:
            for task in (work, leaving):
                task.cancel()
            await asyncio.gather(work, leaving, return_exceptions=True)
            self._desk.answers.discard(self)
            self._let_go(slot)
        try:
            if not work.cancelled():
                work.result()
        except _Stalled:
            # Nothing more can be said. To be closed, a connection would wait for all that was sent to be taken.
            tally.cancelled = True
            self._desk.hang_up(scope)
            await asyncio.sleep(0)

    def _let_go(self, slot: Slot) -> None:
        """The place is given back when the engine has nothing of it left either."""
        if self._events is None:
            slot.release()
        else:
            self._events.cancel()
            self._events.when_ended(slot.release)

    async def _work(self, slot: Slot, tally: Tally, send: Send) -> None:
        clock, writer = _Clock(self._desk, slot), self._question.writer
        # Asked for what comes before all events before it has seen any; sent only once there is one to be sent.
        opening = writer.opening()
        out = _Streamed(send, self._desk, opening) if self._question.stream else _Whole(send, self._desk)
        request = await self._desk.settle(self._question.request)
        self._desk.admission.check_open()
        self._events = Stream(self._desk.client, request)
        reply = Reply() if self._desk.settings.log_bodies else None
        while True:
            events = await self._events.next(clock.patience_s)
            if not events:
                clock.check_turn()
                await out.keep_alive(writer)
                clock.sent()
            frames: list[Frame] = []
            for event in events:
                clock.note(event)
                if reply is not None:
                    reply.add(event)
                if isinstance(event, Finished | Failed):
                    end = self._end_of(event)
                    self._note_end(end, reply, tally, clock)
                    await self._end(end, frames, out)
                    return
                frames += writer.write(event)
            if frames and await out.take(frames):
                clock.sent()

    def _end_of(self, event: TerminalEvent) -> TerminalEvent:
        """What the server has cut short has not ended as its client asked."""
        if not self._stopped or (isinstance(event, Finished) and event.reason is not FinishReason.CANCELLED):
            return event
        return Failed.from_error(event.request_id, ClosedError("The server is being stopped.", code="stopping"))

    async def _end(self, event: TerminalEvent, frames: list[Frame], out: "_Out") -> None:
        if isinstance(event, Failed) and not (out.started or frames):
            raise event.to_error()
        await out.end([*frames, *self._question.writer.write(event)], self._question.writer, event)

    def _note_end(self, event: TerminalEvent, reply: Reply | None, tally: Tally, clock: "_Clock") -> None:
        if isinstance(event, Finished):
            tally.usage = event.usage
            clock.ended(event)
        else:
            tally.error = failure_of(event).code
        if reply is not None:
            prompt = self._question.request.prompt
            asked = prompt[-1].text if isinstance(prompt, tuple) and prompt else getattr(prompt, "text", "")
            tally.question, tally.answer = asked[:_MOST_LOGGED], reply.text[:_MOST_LOGGED]


class _Clock:
    """When an answer's turn came, when it spoke, and when its client last heard something."""

    def __init__(self, desk: "Desk", slot: Slot) -> None:
        self._desk = desk
        self._slot = slot
        self._came = self._heard = time.monotonic()
        self._spoke: float | None = None

    @property
    def patience_s(self) -> float:
        """How long the engine may say nothing before something has to be done."""
        limits = self._desk.settings.limits
        if self._slot.is_running:
            return max(0.0, self._heard + limits.keep_alive_s - time.monotonic())
        return max(0.0, self._came + limits.queue_s - time.monotonic())

    def check_turn(self) -> None:
        """Raises `Overloaded` where it has not come in time."""
        if not self._slot.is_running:
            raise Overloaded(
                "The answer's turn did not come in time.", "Try again later.", code="queue_timeout", retry_after_s=5.0
            )

    def sent(self) -> None:
        self._heard = time.monotonic()

    def note(self, event: Event) -> None:
        now = time.monotonic()
        metrics = self._desk.metrics
        if isinstance(event, Accepted):
            return
        if not self._slot.is_running and not isinstance(event, Failed):
            self._slot.is_running = True
            self._heard = now
            metrics.began(now - self._came)
        if isinstance(event, TextDelta | ThinkingDelta | ToolCallDelta):
            if self._spoke is None:
                metrics.spoke_first(now - self._came)
            else:
                tokens = len(event.tokens) if isinstance(event, TextDelta | ThinkingDelta) else 0
                metrics.spoke_again(now - self._spoke, max(1, tokens))
            self._spoke = now

    def ended(self, event: Finished) -> None:
        seconds = time.monotonic() - self._came
        self._desk.metrics.ended(seconds, event.usage)
        self._desk.admission.learn(seconds)


class _Out(Protocol):
    """The last step: how an answer leaves. The end goes by itself: sending waits for what was sent before."""

    started: bool

    async def take(self, frames: list[Frame]) -> bool:
        """Whether anything was sent."""
        ...

    async def keep_alive(self, writer: Writer) -> None: ...

    async def end(self, frames: list[Frame], writer: Writer, event: TerminalEvent) -> None: ...


class _Streamed:
    def __init__(self, send: Send, desk: "Desk", opening: list[Frame]) -> None:
        self._send = send
        self._limit_s = desk.settings.limits.send_s
        self._opening = opening
        self.started = False

    async def take(self, frames: list[Frame]) -> bool:
        await self._start()
        await self._write(sse.encoded(frames), more=True)
        return True

    async def keep_alive(self, writer: Writer) -> None:
        await self._start()
        ping = writer.ping()
        await self._write(sse.KEEP_ALIVE if ping is None else sse.encoded([ping]), more=True)

    async def end(self, frames: list[Frame], writer: Writer, event: TerminalEvent) -> None:
        await self._start()
        await self._write(sse.encoded(frames), more=True)
        await self._write(b"", more=False)

    async def _start(self) -> None:
        if self.started:
            return
        self.started = True
        response = Response(headers=dict(sse.HEADERS), media_type=sse.MEDIA_TYPE)
        del response.headers["content-length"]
        await self._send({"type": "http.response.start", "status": 200, "headers": response.raw_headers})
        if self._opening:
            await self._write(sse.encoded(self._opening), more=True)

    async def _write(self, data: bytes, *, more: bool) -> None:
        """A client that leaves what it was sent lying is waited for, but not for ever; nor is anybody else kept."""
        async with _within(self._limit_s):
            await self._send({"type": "http.response.body", "body": data, "more_body": more})


class _Whole:
    def __init__(self, send: Send, desk: "Desk") -> None:
        self._send = send
        self._limit_s = desk.settings.limits.send_s
        self.started = False

    async def take(self, frames: list[Frame]) -> bool:
        return False

    async def keep_alive(self, writer: Writer) -> None:
        """Nothing can go before an answer in one piece."""

    async def end(self, frames: list[Frame], writer: Writer, event: TerminalEvent) -> None:
        if isinstance(event, Failed):
            raise event.to_error()
        self.started = True
        response = Response(sse.json_bytes(writer.whole()), media_type="application/json")
        async with _within(self._limit_s):
            await self._send({"type": "http.response.start", "status": 200, "headers": response.raw_headers})
            await self._send({"type": "http.response.body", "body": response.body, "more_body": True})
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


@asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise _Stalled from error


async def left(receive: Receive) -> None:
    """Returns when the client has gone. The body has been read by then."""
    while (await receive())["type"] != "http.disconnect":
        pass
