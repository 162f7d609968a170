"""Tokens to text, as it may be shown: whole characters, nothing of a stop string, thinking told from answer.

Knows nothing of models or requests. Text that may still turn into a marker or a stop string is held back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Detokenizer(Protocol):
    """mlx-lm's streaming detokenizer."""

    last_segment: str

    def add_token(self, token: int) -> None: ...

    def finalize(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Piece:
    text: str
    thinking: bool = False


@dataclass(frozen=True, slots=True)
class ThinkingMarkers:
    start: str
    end: str
    open: bool = False
    """Whether the prompt already ends inside a thinking block."""


class TextStream:
    """One answer. `push` and `finish` give what has become showable; `stopped` says that a stop string came."""

    def __init__(self, detokenizer: Detokenizer, stop: Sequence[str], thinking: ThinkingMarkers | None = None) -> None:
        self._detokenizer = detokenizer
        self._stop = tuple(stop)
        self._markers = thinking
        self._thinking = thinking is not None and thinking.open
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> list[Piece]:
        self._detokenizer.add_token(token)
        return self._release(self._detokenizer.last_segment, final=False)

    def finish(self) -> list[Piece]:
        """What is left when the model ended its answer, or was ended."""
        self._detokenizer.finalize()
        return self._release(self._detokenizer.last_segment, final=True)

    def _release(self, segment: str, *, final: bool) -> list[Piece]:
        if self.stopped:
            return []
        self._held += segment
        pieces: list[Piece] = []
        while (found := self._next_boundary()) is not None:
            at, word, is_stop = found
            self._emit(pieces, self._held[:at])
            if is_stop:
                self._held = ""
                self.stopped = True
                return pieces
            self._held = self._held[at + len(word) :]
            self._thinking = not self._thinking
        keep = 0 if final else _overhang(self._held, self._words())
        self._emit(pieces, self._held[: len(self._held) - keep])
        self._held = self._held[len(self._held) - keep :]
        return pieces

    def _words(self) -> tuple[str, ...]:
        """What ends the current stretch. Stop strings are for the answer, not for the thinking before it."""
        if self._markers is None:
            return self._stop
        return (self._markers.end,) if self._thinking else (*self._stop, self._markers.start)

    def _next_boundary(self) -> tuple[int, str, bool] | None:
        found = [(self._held.find(word), word) for word in self._words() if word in self._held]
        if not found:
            return None
        at, word = min(found, key=lambda hit: (hit[0], -len(hit[1])))
        return at, word, not self._thinking and word in self._stop

    def _emit(self, pieces: list[Piece], text: str) -> None:
        if text:
            pieces.append(Piece(text, self._thinking))


def _overhang(text: str, words: Sequence[str]) -> int:
    """Length of the longest end of `text` that begins one of `words`."""
    longest = max((len(word) for word in words), default=1) - 1
    for size in range(min(longest, len(text)), 0, -1):
        if any(word.startswith(text[-size:]) for word in words):
            return size
    return 0
