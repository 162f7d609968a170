"""How many tokens are guessed at a time, and when none are: guesses that go wrong cost more than they save.

Knows nothing of tokens; it is told how guesses went.
"""

from enum import Enum

FIRST = 4
LEAST = 2
"""Tokens of a guess."""
WORTH = 1.0
"""Right tokens a guess, on average, below which none are made: about what a longer step costs on a CPU."""
HOPE = 3.0
"""Right tokens a guess that are expected at first."""
LATER_HOPE = 1.4
"""The same after a rest: one more guess that is all wrong begins the next."""
WEIGHT = 0.3
"""Of the last guess in the average."""
REST = 32
LONGEST_REST = 512
"""Tokens; each rest is twice as long as the one before, until guessing is worth it again."""
FORETOLD = 3
"""Tokens in a row that would have been guessed right, after which a rest is over."""


class State(Enum):
    GUESSING = "guessing"
    RESTING = "resting"


class Pace:
    """Of one answer."""

    def __init__(self, most: int) -> None:
        """`most` tokens are guessed at a time."""
        self._most = most
        self._count = min(FIRST, most)
        self._average = HOPE
        self._rest = REST
        self._left = 0
        self._in_a_row = 0
        self.state = State.GUESSING

    @property
    def count(self) -> int:
        """Tokens to guess next; 0 in a rest."""
        return self._count if self.state is State.GUESSING else 0

    def judge(self, guessed: int, right: int) -> None:
        """After a guess of `guessed` tokens, of which the first `right` ones were."""
        self._average += WEIGHT * (right - self._average)
        if right == guessed:
            self._count = min(2 * self._count, self._most)
        else:
            self._count = min(max(right + 1, LEAST), self._most)
        if self._average >= WORTH:
            if right == guessed:
                self._rest = REST
            return
        self.state, self._left, self._in_a_row = State.RESTING, self._rest, 0
        self._rest = min(2 * self._rest, LONGEST_REST)

    def wait(self, *, foretold: bool) -> None:
        """After a token that came in a rest; `foretold`: a guess would have been right."""
        self._left -= 1
        self._in_a_row = self._in_a_row + 1 if foretold else 0
        if self._in_a_row == FORETOLD or not self._left:
            self.state, self._average, self._count = State.GUESSING, LATER_HOPE, min(FIRST, self._most)
