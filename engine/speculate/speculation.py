"""The guesses of one answer: what was said so far, who guesses, how far, and how it went.

Knows nothing of models and samplers; whoever checks a guess says how much of it was right.
"""

from collections.abc import Collection

import numpy as np

from engine.speculate.drafter import Drafter
from engine.speculate.pace import Pace


class Speculation:
    def __init__(
        self,
        drafter: Drafter,
        prompt: np.ndarray,
        *,
        most: int,
        max_tokens: int,
        end_ids: Collection[int] = (),
    ) -> None:
        """`prompt` (L,) are its tokens, without those that only keep the places of media; `most` tokens are guessed at
        a time; nothing is behind `max_tokens` of the answer, nor behind a token of `end_ids`."""
        self._drafter = drafter
        self.most = most
        self._pace = Pace(most)
        self._left = max_tokens
        self._end_ids = end_ids
        self._tokens = np.array(prompt, np.int32)
        self._length = len(prompt)
        self.drafted = 0
        self.accepted = 0

    @property
    def ready(self) -> bool:
        """Whether a guess is to be expected behind the next token, so that it is worth to read it first."""
        return bool(self._pace.count and self._left > 1) and (self._drafter.always or bool(self._guess(1)))

    def add(self, token: int, *, guessed: bool = False) -> None:
        """The next token of the answer; `guessed`, and found right."""
        if not guessed and self._pace.count == 0:
            self._pace.wait(foretold=not self._drafter.always and self._guess(1) == [token])
        if self._length == len(self._tokens):
            self._tokens = np.concatenate([self._tokens, np.zeros(max(self._length, 256), np.int32)])
        self._tokens[self._length] = token
        self._length += 1
        self._left -= 1

    def propose(self, most: int) -> list[int]:
        """A guess of at most `most` tokens behind those added; none for no guess."""
        count = min(self._pace.count, self._left, most)
        if count < 1:
            return []
        draft = self._guess(count)
        ends = [number for number, token in enumerate(draft) if token in self._end_ids]
        return draft[: ends[0] + 1] if ends else draft

    def judge(self, drafted: int, accepted: int) -> None:
        """After a guess was checked."""
        self.drafted += drafted
        self.accepted += accepted
        self._pace.judge(drafted, accepted)

    def _guess(self, count: int) -> list[int]:
        return self._drafter.propose(self._tokens[: self._length], count)
