"""Chooses the next token from logits: bias, penalties, constraint, temperature, filters, draw.

A sampler is a chain of pure functions on arrays, so that a step can be launched before the last one has been read.
Knows nothing of models or text. The order is transformers': penalties, temperature, top-k, top-p, min-p; then XTC.
"""

from collections.abc import Sequence

import mlx.core as mx

from engine.api.settings import SamplingSettings
from engine.constrain.constraint import Constraint
from engine.run.draw import Draw, Likeliest
from engine.run.filters import XTC_THRESHOLD, filters_of, xtc_filter
from engine.run.penalties import logit_bias, no_repeat_ngram, penalties_of
from engine.run.thinking import ThinkingBudget

Mark = tuple[mx.array | None, ...]
"""What a sampler's next draw hangs on besides logits."""

LEAST = -1e20
"""The logit of a token that is forbidden, where a constraint may allow nothing else."""


class Sampler:
    """One sequence's choice of tokens: its own random key and history, independent of whatever else runs.

    `accept` is to be called once for each token, in order; where `waits` is true, for all of them before the next draw.
    """

    def __init__(
        self,
        settings: SamplingSettings,
        prompt: mx.array,
        *,
        seed: int,
        logprobs: bool,
        alternatives: int = 0,
        constraint: Constraint | None = None,
        budget: ThinkingBudget | None = None,
        spared: Sequence[int] = (),
    ) -> None:
        """`settings` with every choice made; `prompt` (L,) are the tokens the penalties already count; `alternatives`
        is how many of the likeliest tokens come with each; `spared` are tokens that XTC never leaves out."""
        self._greedy = not settings.temperature
        self._temperature = settings.temperature or 1.0
        self._key = mx.random.key(seed)
        self._logprobs = logprobs
        self._alternatives = alternatives
        self._constraint = constraint
        self._budget = budget
        self._bias = logit_bias(settings.logit_bias) if settings.logit_bias else None
        self._penalties = penalties_of(settings)
        self._ngram = no_repeat_ngram(settings.no_repeat_ngram_size) if settings.no_repeat_ngram_size else None
        self._filters = filters_of(settings)
        self._xtc = None
        if settings.xtc_probability:
            threshold = XTC_THRESHOLD if settings.xtc_threshold is None else settings.xtc_threshold
            self._xtc = xtc_filter(settings.xtc_probability, threshold, spared)
        self._history = prompt if self._penalties else None
        self._answer = mx.zeros((0,), dtype=mx.int32) if self._ngram else None
        self._last: mx.array | None = None
        self.complete = False
        """Whether the last token that was accepted completed the form that the answer is held to: nothing follows."""

    @property
    def waits(self) -> bool:
        """Whether every token drawn so far has to be accepted before the next draw."""
        return any(part is not None and part.waits for part in (self._constraint, self._budget))

    @property
    def heeds(self) -> bool:
        """Whether a draw may hang on tokens having been accepted, not only on their having been drawn."""
        return self._constraint is not None or self._budget is not None

    def accept(self, token: int) -> None:
        """Raises `RequestError` when the constraint becomes too much work."""
        if self._budget is not None:
            self._budget.accept(token)
        if self._constraint is not None:
            self._constraint.accept(token)
            self.complete = self._constraint.stopped

    def draw(self, logits: mx.array, forced: int | None = None) -> Draw:
        """`logits` (1, V) of the next token, any float type. A `forced` token is drawn whatever they say, as is
        what ends thinking at the end of its budget. Behind an answer that is complete it is any token, for nobody.

        Raises `RequestError` for a bias of a token that the model has not, and what the constraint raises.
        """
        if self.complete:
            return Draw(mx.zeros((1,), dtype=mx.uint32))
        logits = logits.astype(mx.float32)
        if forced is None:
            forced = self._end_of_thinking()
        token = self._choose(logits) if forced is None else mx.array([forced], dtype=mx.uint32)
        self._remember(token)
        if not self._logprobs:
            return Draw(token)
        total = mx.logsumexp(logits, axis=-1, keepdims=True)
        chosen = (mx.take_along_axis(logits, token[:, None], axis=-1) - total)[:, 0]
        return Draw(token, chosen, self._likeliest(logits - total) if self._alternatives else None)

    def mark(self) -> Mark:
        return self._key, self._history, self._answer, self._last

    def go_back(self, mark: Mark) -> None:
        """As if nothing had been drawn since. Not for one that heeds what it accepted."""
        self._key, self._history, self._answer, self._last = mark

    def _choose(self, logits: mx.array) -> mx.array:
        if self._bias:
            logits = self._bias(logits)
        for discourage in self._penalties:
            logits = discourage(logits, self._history)
        if self._ngram:
            logits = self._ngram(logits, self._answer)
        if self._constraint and (allowed := self._constraint.mask(logits.shape[-1], self._last)) is not None:
            logits = mx.where(allowed, mx.maximum(logits, LEAST), -mx.inf)
        return mx.argmax(logits, axis=-1) if self._greedy else self._sample(logits)

    def _end_of_thinking(self) -> int | None:
        # A marker's words inside an answer that is held to a form are words, and end nothing.
        if self._budget is None or (self._constraint is not None and self._constraint.holds):
            return None
        return self._budget.forced()

    def _sample(self, logits: mx.array) -> mx.array:
        logits = logits / self._temperature
        for keep in self._filters:
            logits = keep(logits)
        if self._xtc:
            self._key, key = mx.random.split(self._key)
            logits = self._xtc(logits, key)
        self._key, key = mx.random.split(self._key)
        return mx.random.categorical(logits, key=key)

    def _likeliest(self, logprobs: mx.array) -> Likeliest:
        count = min(self._alternatives, logprobs.shape[-1])
        tokens = mx.argpartition(-logprobs, kth=count - 1, axis=-1)[:, :count]
        return Likeliest(tokens, mx.take_along_axis(logprobs, tokens, axis=-1))

    def _remember(self, token: mx.array) -> None:
        self._last = token
        if self._history is not None:
            self._history = mx.concatenate([self._history, token.astype(self._history.dtype)])
        if self._answer is not None:
            self._answer = mx.concatenate([self._answer, token.astype(self._answer.dtype)])
