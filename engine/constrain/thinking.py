"""Thinking before an answer that is held to a form: free until the end marker, held from there on.

Knows nothing of text streams: a marker is token ids, or words where those may be written in other tokens.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from enum import Enum

import mlx.core as mx
import numpy as np

from engine.constrain.constraint import GrammarConstraint


@dataclass(frozen=True, slots=True)
class ThinkingBlock:
    """How a model writes one."""

    start: tuple[int, ...]
    """Token ids of the start marker."""
    end: tuple[int, ...]
    """Token ids of whatever stands between the thoughts and the answer."""
    end_text: str
    decode: Callable[[Sequence[int]], str] = field(repr=False)
    is_open: bool = False
    """Whether the prompt already ends inside a block."""


class _State(Enum):
    BEFORE = "before"
    """The answer may begin, or a block."""
    OPENING = "opening"
    THINKING = "thinking"
    HELD = "held"


class DelayedConstraint:
    """Counts as none while the model thinks. An end marker of one token costs no wait: the draw behind it is held by
    the token itself, before anybody has read it."""

    def __init__(self, inner: GrammarConstraint, block: ThinkingBlock) -> None:
        """`inner` gets the tokens behind the end marker, or all of them if the model does not think."""
        self._inner = inner
        self._block = block
        self._state = _State.THINKING if block.is_open else _State.BEFORE
        self._opened = 0
        """Tokens of the start marker so far."""
        self._recent: list[int] = []
        # A marker's text may begin and end inside tokens.
        self._window = 2 * len(block.end) + 8

    @property
    def waits(self) -> bool:
        if self._state is _State.THINKING:
            return len(self._block.end) > 1
        return self._inner.waits

    @property
    def holds(self) -> bool:
        return self._state is _State.HELD

    @property
    def stopped(self) -> bool:
        return self.holds and self._inner.stopped

    def mask(self, size: int, drawn: mx.array | None) -> mx.array | None:
        match self._state:
            case _State.HELD:
                return self._inner.mask(size)
            case _State.BEFORE:
                return self._inner.mask(size) | _only(self._block.start[0], size)
            case _State.OPENING:
                return _only(self._block.start[self._opened], size)
            case _State.THINKING:
                return self._mask_behind(size, drawn)

    def _mask_behind(self, size: int, drawn: mx.array | None) -> mx.array | None:
        if drawn is None or len(self._block.end) > 1:
            return None
        return self._inner.mask(size) | (drawn != self._block.end[0])[:, None]

    def accept(self, token: int) -> None:
        match self._state:
            case _State.HELD:
                self._inner.accept(token)
            # What may begin an answer as well is one, but for a token that is a whole marker.
            case _State.BEFORE if token != self._block.start[0] or (
                len(self._block.start) > 1 and self._inner.allows(token)
            ):
                self._state = _State.HELD
                self._inner.accept(token)
            case _State.BEFORE | _State.OPENING:
                self._opened += 1
                is_whole = self._opened == len(self._block.start)
                self._state = _State.THINKING if is_whole else _State.OPENING
            case _State.THINKING:
                self._think(token)

    def fork(self) -> "DelayedConstraint":
        other = copy(self)
        other._inner, other._recent = self._inner.fork(), list(self._recent)
        return other

    def _think(self, token: int) -> None:
        if len(self._block.end) == 1:
            has_ended = token == self._block.end[0]
        else:
            self._recent = [*self._recent, token][-self._window :]
            has_ended = self._block.end_text in self._block.decode(self._recent)
        if has_ended:
            self._state = _State.HELD


def _only(token: int, size: int) -> mx.array:
    return mx.array((np.arange(size) == token)[None])
