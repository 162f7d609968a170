"""What one answer holds on the device, and what may go wrong with it alone.

Knows nothing of who runs next.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from engine.api.events import TokenLogprob
from engine.cache.keys import Scope
from engine.run.draw import Draw
from engine.run.prefill import Prefill
from engine.run.rows import Rows
from engine.run.sampler import Sampler
from engine.speculate.speculation import Speculation

Outcome = list[TokenLogprob] | Exception
"""Of a step for one answer: its next tokens, or why there are none."""


@dataclass(slots=True)
class Slot:
    sampler: Sampler
    prefill: Prefill
    scope: Scope
    key: np.ndarray
    """(L,) int64, of the prompt; see `engine.run.runner.prefix_key`."""
    cached: int
    """Tokens of the prompt that were found computed."""
    speculation: Speculation | None = None
    logits: mx.array | None = None
    """(1, V) behind the prompt, until it is answered."""
    rows: Rows | None = None
    """Once it decodes."""
    launched: Draw | None = None
    """The next token, under way but not yet read."""
    written: int = 0
    """Tokens of the answer that are in the caches: those that were handed out."""
    failure: Exception | None = None
    """Of its own choice of tokens; nobody else's row is the worse for it."""

    def outcome(self, tokens: list[TokenLogprob]) -> Outcome:
        """What is handed out of a step that read these `tokens` and wrote them."""
        if self.failure is not None:
            return self.failure
        self.written += len(tokens)
        return tokens


@dataclass(frozen=True, slots=True)
class Alone:
    """What goes wrong with one row's sampler goes into its slot, and the step goes on for the others."""

    slot: Slot

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if not isinstance(error, Exception):
            return False
        self.slot.failure = self.slot.failure or error
        return True


def accepted(slots: Sequence[Slot], ready: Sequence[Draw]) -> list[TokenLogprob]:
    """Read what is `ready` for each, and tell the samplers."""
    tokens = [draw.read() for draw in ready]
    for slot, token in zip(slots, tokens, strict=True):
        with Alone(slot):
            slot.sampler.accept(token.token_id)
    return tokens
