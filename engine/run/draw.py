"""A token that was drawn, computed or still to be: arrays until it is read, plain data then.

Knows nothing of how it was chosen.
"""

from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from engine.api.events import TokenLogprob


@dataclass(frozen=True, slots=True)
class Likeliest:
    """The k likeliest tokens (1, k) and their log-probabilities (1, k), in no order."""

    tokens: mx.array
    logprobs: mx.array


@dataclass(frozen=True, slots=True)
class Draw:
    """A token (1,) and its log-probability (1,) under the model's own distribution."""

    token: mx.array
    logprob: mx.array | None = None
    likeliest: Likeliest | None = None

    def arrays(self) -> list[mx.array]:
        """All that has to be computed before `read` can answer without a wait."""
        found = [self.token] if self.logprob is None else [self.token, self.logprob]
        return found if self.likeliest is None else [*found, self.likeliest.tokens, self.likeliest.logprobs]

    def read(self) -> TokenLogprob:
        """Waits for the device. A log-probability that was not asked for is 0."""
        logprob = 0.0 if self.logprob is None else float(np.asarray(self.logprob)[0])
        return TokenLogprob(int(self.token.item()), logprob, self._alternatives())

    def _alternatives(self) -> tuple[TokenLogprob, ...]:
        if self.likeliest is None:
            return ()
        tokens, logprobs = np.asarray(self.likeliest.tokens)[0], np.asarray(self.likeliest.logprobs)[0]
        pairs = zip(tokens.tolist(), logprobs.tolist(), strict=True)
        return tuple(TokenLogprob(*pair) for pair in sorted(pairs, key=lambda pair: (-pair[1], pair[0])))
