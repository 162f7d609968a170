"""Prompt look-up: an answer that repeats what was said before goes on as that did.

Knows nothing of models: a guess costs a few comparisons (github.com/apoorvumang/prompt-lookup-decoding).
"""

import numpy as np

SHORTEST = 2
"""Tokens that have to be alike."""
LONGEST = 8
"""Tokens that are compared: where several places are alike, the one that is for longer, then the later one."""
TRUST = 2
"""Tokens that are guessed for each one that is alike."""


class PromptLookup:
    """A `Drafter`."""

    always = False

    def propose(self, history: np.ndarray, count: int) -> list[int]:
        """What followed the place that ends as `history` (L,) does; where that is less, a pattern goes round."""
        last = len(history) - 1
        if last < SHORTEST:
            return []
        places = np.flatnonzero(history[:last] == history[last])
        alike = 1
        while alike < LONGEST:
            longer = places[places >= alike]
            longer = longer[history[longer - alike] == history[last - alike]]
            if not len(longer):
                break
            places, alike = longer, alike + 1
        if not len(places) or alike < SHORTEST:
            return []
        return np.resize(history[places[-1] + 1 :], min(count, TRUST * alike)).tolist()
