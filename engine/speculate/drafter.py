"""What guesses how an answer goes on: the protocol that every kind of drafter has.

Knows nothing of how a guess is checked. Look-up and a second model are two kinds; heads that foretell several tokens
and models that write whole blocks at once are others, given what they need of the model as they are made.
"""

from typing import Protocol

import numpy as np


class Drafter(Protocol):
    """Of one answer. A guess is certain of itself, a point mass: what is drawn instead of a wrong one is then drawn
    from the right distribution as it is (arXiv 2211.17192, with q a point mass)."""

    @property
    def always(self) -> bool:
        """Whether it has a guess whatever was said. Otherwise asking costs next to nothing, so that it may be asked
        whether it has one."""
        ...

    def propose(self, history: np.ndarray, count: int) -> list[int]:
        """At most `count` tokens behind those of prompt and answer so far, `history` (L,) int32; none for no guess.

        `history` differs from that of the call before by what was said since. It is not to be kept or changed."""
        ...
