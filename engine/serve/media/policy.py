"""What a request refers to, made bytes or refused: the only place where the local API follows a reference.

Knows nothing of what is in the bytes, nor of how they are got. Decoders and their limits are the engine's.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from engine.api.conversation import Conversation, media_of
from engine.api.errors import MediaError, RequestError
from engine.api.request import CountTokens, GenerateRequest, MediaPart, RenderedPrompt
from engine.serve.media.data_uri import decode
from engine.serve.media.fetch import SCHEMES, Fetcher
from engine.serve.media.kinds import Wanted, wanted
from engine.serve.media.local import read_local
from engine.serve.media.refusal import too_large
from engine.serve.settings import MediaRules

Asked = TypeVar("Asked", GenerateRequest, CountTokens)

_SCHEME = re.compile(r"(data|file):|([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
"""Of an address. A colon alone may stand in a path as well."""
_IN_ALL = 3
"""How many times as long as one all fetches of a request may take."""


class MediaPolicy:
    """Lives on the server's event loop."""

    def __init__(self, rules: MediaRules, fetcher: Fetcher | None = None) -> None:
        self._rules = rules
        self._fetcher = fetcher or Fetcher(rules)

    async def settle(self, request: Asked) -> Asked:
        """The same, with bytes wherever it referred to media. Raises `RequestError` or `MediaError`, whose words hold
        nothing of what was named."""
        parts = media_of(request.prompt)
        if not parts:
            return request
        if len(parts) > self._rules.max_items:
            raise RequestError(
                f"There are {len(parts)} pictures, clips and recordings; at most {self._rules.max_items} are let in.",
                "Send fewer.",
                code="too_many_media",
            )
        return replace(request, prompt=_with(request.prompt, iter(await self._settled(parts))))

    async def _settled(self, parts: list[MediaPart]) -> list[MediaPart]:
        """All together, so that slow hosts are waited for at the same time."""
        work = _Work(self._rules, self._fetcher)
        tasks = [asyncio.ensure_future(work.settled(part, number)) for number, part in enumerate(parts, 1)]
        try:
            async with asyncio.timeout(self._rules.fetch_s * _IN_ALL):
                return await asyncio.gather(*tasks)
        except TimeoutError as error:
            raise MediaError("The media took too long to come.", code="media_unreachable") from error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class _Work:
    """On the media of one request."""

    def __init__(self, rules: MediaRules, fetcher: Fetcher) -> None:
        self._rules = rules
        self._fetcher = fetcher
        self._room = rules.max_total_bytes
        self._reading = asyncio.Lock()
        self._known: dict[tuple[type, bytes | str | Path], asyncio.Task[bytes]] = {}
        """A conversation names the same picture time and again."""

    async def settled(self, part: MediaPart, number: int) -> MediaPart:
        key, wish = (type(part), part.source), wanted(part, number, self._rules)
        if key not in self._known:
            self._known[key] = asyncio.ensure_future(self._bytes_of(part.source, wish))
        return replace(part, source=await self._known[key], name=part.name or wish.what)

    async def _bytes_of(self, source: bytes | str | Path, wish: Wanted) -> bytes:
        scheme = _scheme(source)
        if isinstance(source, bytes):
            if len(source) > wish.max_bytes:
                raise too_large(wish)
            data = source
        elif scheme in ("", "file"):
            data = await self._in_turn(read_local, str(source), self._rules.folders, wish)
        elif scheme == "data":
            data = await self._in_turn(decode, source, wish)
        elif scheme in SCHEMES:
            return await self._fetcher.fetch(source, wish, self._spend)
        else:
            raise MediaError(
                f"The {wish.what} has an address of a kind that is not followed.",
                "Send its content as a data: URI.",
                code="media_refused",
            )
        self._spend(len(data))
        return data

    async def _in_turn(self, read: Callable[..., bytes], *given: object) -> bytes:
        """One after the other, so that each knows what is left; off the event loop."""
        async with self._reading:
            return await asyncio.to_thread(read, *given, self._room)

    def _spend(self, count: int) -> None:
        self._room -= count
        if self._room < 0:
            raise MediaError(
                f"The media have more than the {self._rules.max_total_bytes:,} bytes together that are let in.",
                "Send fewer, or smaller ones.",
                code="media_too_large",
            )


def _scheme(source: bytes | str | Path) -> str:
    found = _SCHEME.match(source) if isinstance(source, str) else None
    return (found[1] or found[2]).lower() if found else ""


def _with(prompt: Conversation, settled: Iterator[MediaPart]) -> Conversation:
    """The media in their order, in the places of what they stand for."""
    if isinstance(prompt, RenderedPrompt):
        return replace(prompt, media=tuple(settled))
    return tuple(
        replace(message, parts=tuple(next(settled) if isinstance(part, MediaPart) else part for part in message.parts))
        for message in prompt
    )
