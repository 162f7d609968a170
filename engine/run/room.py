"""Whether there is memory for one more answer: its caches, and its prompt on the way into them, beside all others.

Knows nothing of devices; what is free and in use are numbers that it asks for. What earlier prompts left behind gives
way first.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.api.errors import MemoryRefused
from engine.models.base import PreparedMedia
from engine.run.prompt import Prompt
from engine.sizes import format_size

log = logging.getLogger("fovea.engine")

GROWTH = 2048
"""Tokens of an answer that are counted at a time: few use all that they are allowed."""

_HINT = "Begin a new chat, shorten the text, take pictures out or make them smaller, or close other apps."


class Grows(Protocol):
    """What a layer's cache takes."""

    def bytes(self, tokens: int) -> int: ...


class Passes(Protocol):
    """What a prompt takes on its way in."""

    def bytes(self, tokens: int, media: Sequence[PreparedMedia]) -> int: ...


class GivesWay(Protocol):
    @property
    def bytes(self) -> int: ...

    def shrink(self, max_bytes: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Need:
    """What is asked for one request."""

    rows: int = 0
    begin: int = 0
    """Tokens of the prompt."""
    tokens: int = 0
    """In the caches of each row, at most."""
    passing: int = 0
    """Bytes that are given back once the prompt is read."""


@dataclass(frozen=True, slots=True)
class Granted:
    """What another has been given."""

    need: Need
    tokens: int = 0
    """In the caches of its longest row by now."""


class Room:
    def __init__(
        self,
        layers: Sequence[Grows],
        prompts: Passes,
        free: Callable[[], int],
        used: Callable[[], int],
        leftovers: Iterable[GivesWay],
        max_kv_bytes: int | None,
        *,
        padded: bool = True,
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        """Made before anybody is answered. `padded`: whether rows lie side by side in one array, each as long as the
        longest; `settle` waits until what has been launched is over, and what it took is free."""
        self._layers = tuple(layers)
        self._prompts = prompts
        self._free = free
        self._used = used
        self._leftovers = tuple(leftovers)
        self._max_kv_bytes = max_kv_bytes
        self._padded = padded
        self._settle = settle
        self._used_by_nobody = used()

    def bytes(self, tokens: int) -> int:
        """Of the caches of one sequence."""
        return sum(layer.bytes(tokens) for layer in self._layers)

    def need(self, prompt: Prompt, max_tokens: int, rows: int) -> Need:
        tokens = len(prompt.token_ids)
        return Need(rows, tokens, tokens + min(max_tokens, GROWTH), self._prompts.bytes(tokens, prompt.media))

    def fits(self, need: Need, others: Iterable[Granted], tokens: int = 0) -> bool:
        """Whether `need` may be taken beside others, who may still take what they have been given. `tokens`: in its own
        caches already. Leftovers give way if that helps."""
        others = list(others)
        everybody = [*others, Granted(need, tokens)]
        most = self._most(everybody)
        if self._max_kv_bytes is not None and most > self._max_kv_bytes:
            return False
        wanted = max(most - self._held(everybody), 0) + sum(granted.need.passing for granted in everybody)
        if wanted > (self._available() if others or tokens else self._available_to_one()):
            return False
        for leftover in self._leftovers:
            if (missing := wanted - self._free()) > 0:
                leftover.shrink(max(leftover.bytes - missing, 0))
        return wanted <= self._free()

    def never_fits(self, need: Need) -> bool:
        """Whether `need` would be too much even when all others have ended and nothing is left over."""
        kept = self._kept(need)
        if self._max_kv_bytes is not None and kept > self._max_kv_bytes:
            return True
        return kept + need.passing > self._available_to_one()

    def fits_alone(self, need: Need) -> bool:
        """The same as `fits` with nobody else there, after all that others launched is over."""
        self._settle()
        return self.fits(need, ())

    def refusal(self, need: Need, prompt: Prompt) -> MemoryRefused:
        """Of a prompt and the answer to it."""
        kept = self._kept(need)
        parts = f"{format_size(kept)} to remember it" + (f" for {need.rows} answers" if need.rows > 1 else "")
        if prompt.media:
            parts += f", {format_size(need.passing)} to look at what is in it"
        return MemoryRefused(
            f"This conversation of {len(prompt.token_ids):,} tokens needs {format_size(kept + need.passing)} of memory "
            f"to be answered ({parts}); {self._said_free(kept, need.passing)}.",
            _HINT,
        )

    def too_large(self, name: str, need: Need) -> MemoryRefused:
        """Of a picture or clip that is to be opened."""
        return MemoryRefused(
            f"{name} needs {format_size(need.passing)} of memory to be opened; {self._said_free(0, need.passing)}.",
            "Save a smaller copy of it, take other pictures out, or close other apps.",
        )

    def outgrown(self, need: Need, written: int) -> MemoryRefused:
        """Of an answer that was not expected to become so long."""
        kept = self._kept(need)
        return MemoryRefused(
            f"The answer has grown to {written:,} tokens, and to go on it needs {format_size(kept)} of memory in all; "
            f"{self._said_free(kept, 0)}.",
            "Ask for a shorter answer (--max-tokens), begin a new chat, or close other apps.",
        )

    def ran_out(self, error: BaseException) -> MemoryRefused:
        """Of what could not be finished because of an `error` of the device's; everything left over goes."""
        log.error("out of memory", exc_info=error)
        used, free = self._used(), self._free()
        self.make_way()
        return MemoryRefused(
            f"The device ran out of memory with {format_size(used)} in use and {format_size(free)} free: {error}",
            _HINT,
            code="out_of_memory",
        )

    @property
    def has_leftovers(self) -> bool:
        return any(leftover.bytes for leftover in self._leftovers)

    def make_way(self) -> None:
        for leftover in self._leftovers:
            leftover.shrink(0)

    def _kept(self, need: Need) -> int:
        """Of its caches at last."""
        return need.rows * self.bytes(need.tokens)

    def _held(self, granted: Iterable[Granted]) -> int:
        """Of the caches that are there."""
        return self._together([(each.need.rows, each.tokens) for each in granted if each.tokens])

    def _most(self, granted: Sequence[Granted]) -> int:
        """Of all caches at the time when they are largest, if all go on side by side to the end of what they have been
        given: it comes when one of them is about to end."""
        rows = [(each.need.rows, max(each.need.begin, each.tokens), each.need.tokens) for each in granted]
        rows = [(count, now, end) for count, now, end in rows if count]
        return max((self._after(end - now, rows) for _, now, end in rows), default=0)

    def _after(self, steps: int, rows: Sequence[tuple[int, int, int]]) -> int:
        return self._together([(count, now + steps) for count, now, end in rows if end - now >= steps])

    def _together(self, rows: Sequence[tuple[int, int]]) -> int:
        """Of the caches of so many rows, each of so many tokens."""
        if self._padded and rows:
            return sum(count for count, _ in rows) * self.bytes(max(tokens for _, tokens in rows))
        return sum(count * self.bytes(tokens) for count, tokens in rows)

    def _available(self) -> int:
        """Bytes that are free, or would be if nothing were left over."""
        return self._free() + sum(leftover.bytes for leftover in self._leftovers)

    def _available_to_one(self) -> int:
        """The same once nobody else is answered. What is left over counts as it lies in memory, which may be more than
        it says of itself."""
        return max(self._available(), self._free() + self._used() - self._used_by_nobody)

    def _said_free(self, kept: int, passing: int) -> str:
        free = max(self._available_to_one(), 0)
        if self._max_kv_bytes is not None and kept > self._max_kv_bytes and kept + passing <= free:
            return f"{format_size(self._max_kv_bytes)} are allowed to answers"
        return f"{format_size(free)} are free"
