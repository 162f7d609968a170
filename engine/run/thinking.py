"""How thinking is ended when it takes too long.

Knows nothing of sampling: what has to be drawn next is said, not done.
"""

from collections.abc import Sequence
from typing import Protocol


class Watch(Protocol):
    """Tells thinking from answer as tokens come; `engine.run.text.TextStream` is one."""

    thinking: bool
    answering: bool
    """Whether the answer has begun: a block may still be opened until then."""
    thought: int
    """Tokens of thinking so far, with those that may still become the end marker."""

    def push(self, token: int) -> object: ...


class ThinkingBudget:
    """Ends the thinking of one answer after `limit` tokens.

    Before each draw: `waits` says whether all tokens have to be read and accepted first, and `forced()` which token,
    if any, the draw has to give. `accept` is called once for every token of the answer, in order, forced ones too.
    While `waits` is false, one token may be under way unread. A block that is opened again in the middle of an answer,
    with nothing left of the budget, may therefore hold one token before its end.
    """

    def __init__(self, limit: int, watch: Watch, closing: Sequence[int]) -> None:
        """`closing` are the token ids of the end marker; `watch` gets all tokens from here and from nobody else."""
        self._limit = limit
        self._watch = watch
        self._closing = tuple(closing)
        self._matched = 0
        """How much of the end marker the last tokens were."""
        self._is_forcing = False
        self._is_spent = False

    @property
    def waits(self) -> bool:
        if self._is_forcing:
            return True
        if self._watch.thinking:
            return self._watch.thought + 1 >= self._limit
        # The token under way may open a block, in which the next one must not stand.
        return not self._watch.answering and self._watch.thought >= self._limit

    def forced(self) -> int | None:
        """Changes nothing, so it may be asked as often as one likes."""
        return self._closing[self._matched] if self._is_forcing or self._is_due else None

    def accept(self, token: int) -> None:
        is_forced = token == self.forced()
        self._watch.push(token)
        if not self._watch.thinking:
            self._is_spent = False
        if token != self._closing[self._matched]:
            self._matched = 0
        self._matched += token == self._closing[self._matched]
        self._is_forcing = is_forced and self._matched < len(self._closing)
        if self._matched == len(self._closing):
            self._matched = 0
            # A marker that did not end the block will not do so the second time either.
            self._is_spent = is_forced and self._watch.thinking

    @property
    def _is_due(self) -> bool:
        return self._watch.thinking and not self._is_spent and self._watch.thought >= self._limit
