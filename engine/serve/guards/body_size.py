"""Reads a request's body before anything else does, and stops where it is too large, too slow, or one too many.

What a client says of the length is only a reason to refuse sooner. Knows nothing of what is in a body.
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.serve.error_response import refuse
from engine.serve.failures import Overloaded, Refused
from engine.serve.guards.headers import values_of
from engine.serve.settings import Limits

_CLOSE = {"connection": "close"}
_GONE: Message = {"type": "http.disconnect"}


class BodySizeGuard:
    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        self._held = 0

    @property
    def held_bytes(self) -> int:
        """Of bodies that are being read and have not been handed on."""
        return self._held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body()
        try:
            try:
                if (promised := _promised(scope)) > self._limits.max_body_bytes:
                    raise _too_large(self._limits)
                self._check_room(promised)
                async with asyncio.timeout(self._limits.body_s):
                    await self._read(body, receive)
            except TimeoutError:
                slow = Refused("The request took too long to arrive.", status=408, code="request_timeout")
                await refuse(scope, receive, send, slow, _CLOSE)
                return
            except Refused as error:
                # The connection stays: closed under a client that is still sending, it would take the answer with it.
                await refuse(scope, receive, send, error)
                return
            if body.left:
                return

            async def replayed() -> Message:
                if (message := body.take()) is None:
                    return await receive()
                self._let_go(body)
                return message

            await self._app(scope, replayed, send)
        finally:
            self._let_go(body)

    async def _read(self, body: "_Body", receive: Receive) -> None:
        while not body.complete:
            message = await receive()
            if message["type"] == "http.disconnect":
                body.left = True
                return
            chunk = message.get("body", b"")
            if body.size + len(chunk) > self._limits.max_body_bytes:
                raise _too_large(self._limits)
            self._check_room(len(chunk))
            self._held += len(chunk)
            body.add(chunk, complete=not message.get("more_body", False))
            if body.commas > self._limits.max_body_values:
                raise _too_many(self._limits)

    def _check_room(self, wanted: int) -> None:
        if self._held + wanted > self._limits.max_reading_bytes:
            raise Overloaded("Too much is being sent at once.", "Try again in a moment.", retry_after_s=1.0)

    def _let_go(self, body: "_Body") -> None:
        self._held -= body.size
        body.size = 0


class _Body:
    def __init__(self) -> None:
        self.size = 0
        self.commas = 0
        self.complete = False
        self.left = False
        """Whether the client was gone before it had sent all."""
        self._chunks: list[bytes] = []
        self._taken = False

    def add(self, chunk: bytes, *, complete: bool) -> None:
        self._chunks.append(chunk)
        self.size += len(chunk)
        self.commas += chunk.count(b",")
        self.complete = complete

    def take(self) -> Message | None:
        """All of it at once, once."""
        if self._taken:
            return None
        self._taken = True
        whole = b"".join(self._chunks)
        self._chunks.clear()
        return {"type": "http.request", "body": whole, "more_body": False}


def _promised(scope: Scope) -> int:
    given = values_of(scope, b"content-length")
    return int(given[0]) if given and given[0].isascii() and given[0].isdigit() else 0


def _too_many(limits: Limits) -> Refused:
    """What is made of many small values takes a hundred times as long to read as one long text, and nothing else can
    be done meanwhile."""
    return Refused(
        f"The request holds more than the {limits.max_body_values:,} values that are taken.",
        "Send fewer at a time.",
        status=413,
        code="request_too_large",
    )


def _too_large(limits: Limits) -> Refused:
    return Refused(
        f"The request is larger than the {limits.max_body_bytes:,} bytes that are taken.",
        "Send fewer or smaller pictures.",
        status=413,
        code="request_too_large",
    )
