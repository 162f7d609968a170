"""Whether there is memory for one more answer: its caches against what is free, with what others may still take.

Knows nothing of devices; free memory is a number that it asks for. What earlier prompts left behind gives way first.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from engine.api.errors import MemoryRefused
from engine.sizes import format_size

GROWTH = 2048
"""Tokens of an answer that are counted at most: few use all that they are allowed."""


class Grows(Protocol):
    """What a layer's cache takes."""

    def bytes(self, tokens: int) -> int: ...


class GivesWay(Protocol):
    @property
    def bytes(self) -> int: ...

    def shrink(self, max_bytes: int) -> None: ...


class Room:
    def __init__(
        self, layers: Sequence[Grows], free: Callable[[], int], leftovers: Iterable[GivesWay], max_kv_bytes: int | None
    ) -> None:
        self._layers = tuple(layers)
        self._free = free
        self._leftovers = tuple(leftovers)
        self._max_kv_bytes = max_kv_bytes

    def bytes(self, tokens: int) -> int:
        """Of the caches of one sequence."""
        return sum(layer.bytes(tokens) for layer in self._layers)

    def need(self, prompt_tokens: int, max_tokens: int) -> int:
        return self.bytes(prompt_tokens + min(max_tokens, GROWTH))

    def fits(self, need: int, others: Iterable[tuple[int, int]]) -> bool:
        """Whether `need` bytes may be taken beside others, each with what it needs and what it has taken of that.

        Leftovers give way if that helps."""
        others = list(others)
        if self._max_kv_bytes is not None and need + sum(all_of_it for all_of_it, _ in others) > self._max_kv_bytes:
            return False
        wanted = need + sum(max(all_of_it - taken, 0) for all_of_it, taken in others)
        if wanted > self._available():
            return False
        for leftover in self._leftovers:
            if (missing := wanted - self._free()) > 0:
                leftover.shrink(max(leftover.bytes - missing, 0))
        return wanted <= self._free()

    def never_fits(self, need: int, others: Iterable[int]) -> bool:
        """Whether `need` bytes would be too many even when others, with these needs, have ended and nothing is left
        over."""
        if self._max_kv_bytes is not None and need > self._max_kv_bytes:
            return True
        return need > self._available() + sum(others)

    def refusal(self, need: int, prompt_tokens: int) -> MemoryRefused:
        limit = self._available() if self._max_kv_bytes is None else min(self._available(), self._max_kv_bytes)
        return MemoryRefused(
            f"This conversation of {prompt_tokens:,} tokens needs {format_size(need)} of memory to be answered; "
            f"{format_size(max(limit, 0))} are free.",
            "Begin a new chat, shorten the text, take pictures out, or close other apps.",
        )

    def _available(self) -> int:
        """Bytes that are free, or would be if nothing were left over."""
        return self._free() + sum(leftover.bytes for leftover in self._leftovers)
