"""Chooses the next token from logits: penalties, temperature, filters, draw.

A sampler is a chain of pure functions on arrays, so that a step can be launched before the last one has been read.
Knows nothing of models or text. The order is transformers': penalties, temperature, top-k, top-p, min-p.
"""

from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx

from engine.api.settings import SamplingSettings

LogitsFilter = Callable[[mx.array], mx.array]
Penalty = Callable[[mx.array, mx.array], mx.array]


def top_k_filter(k: int) -> LogitsFilter:
    """Keep the k likeliest tokens (ties with the last of them included)."""

    def keep(logits: mx.array) -> mx.array:
        if k >= logits.shape[-1]:
            return logits
        threshold = mx.min(mx.topk(logits, k, axis=-1), axis=-1, keepdims=True)
        return mx.where(logits < threshold, -mx.inf, logits)

    return keep


def top_p_filter(p: float) -> LogitsFilter:
    """Keep the smallest set of tokens whose probability reaches `p` (arXiv 1904.09751)."""

    def keep(logits: mx.array) -> mx.array:
        ordered = mx.sort(logits, axis=-1)
        at_or_below = mx.cumsum(mx.softmax(ordered, axis=-1, precise=True), axis=-1)
        # A token goes when the tokens up to and including it hold no more than 1 - p; the likeliest always stays.
        dropped = mx.minimum((at_or_below <= 1 - p).sum(axis=-1, keepdims=True), logits.shape[-1] - 1)
        return mx.where(logits < mx.take_along_axis(ordered, dropped, axis=-1), -mx.inf, logits)

    return keep


def min_p_filter(p: float) -> LogitsFilter:
    """Keep the tokens at least `p` times as likely as the likeliest (arXiv 2407.01082)."""

    def keep(logits: mx.array) -> mx.array:
        probabilities = mx.softmax(logits, axis=-1, precise=True)
        return mx.where(probabilities < p * probabilities.max(axis=-1, keepdims=True), -mx.inf, logits)

    return keep


def repetition_penalty(penalty: float, context_size: int | None) -> Penalty:
    """Divide positive and multiply negative logits of tokens already seen (arXiv 1909.05858)."""

    def discourage(logits: mx.array, history: mx.array) -> mx.array:
        recent = history[-context_size:] if context_size else history
        seen = logits[:, recent]
        changed = mx.array(logits)
        changed[:, recent] = mx.where(seen < 0, seen * penalty, seen / penalty)
        return changed

    return discourage


def no_repeat_ngram(size: int) -> Penalty:
    """Forbid whatever token would complete an n-gram that `history` already holds."""

    def forbid(logits: mx.array, history: mx.array) -> mx.array:
        starts = history.shape[0] - size + 1
        if starts < 1:
            return logits
        matches = mx.ones((starts,), dtype=mx.bool_)
        for offset in range(size - 1):
            matches = matches & (history[offset : offset + starts] == history[starts + offset])
        completions = history[size - 1 :]
        return logits.at[:, completions].minimum(mx.where(matches, -mx.inf, mx.inf)[None])

    return forbid


@dataclass(frozen=True, slots=True)
class Draw:
    """A token (1,) and its log-probability (1,) under the model's own distribution, computed or still to be."""

    token: mx.array
    logprob: mx.array | None


class Sampler:
    """One sequence's choice of tokens: its own random key and history, independent of whatever else runs."""

    def __init__(self, settings: SamplingSettings, prompt: mx.array, *, seed: int, logprobs: bool) -> None:
        """`settings` with every choice made; `prompt` (L,) are the tokens the repetition penalty already counts."""
        self._greedy = not settings.temperature
        self._temperature = settings.temperature or 1.0
        self._key = mx.random.key(seed)
        self._logprobs = logprobs
        self._filters = _filters(settings)
        self._repetition = None
        if settings.repetition_penalty not in (None, 1.0):
            self._repetition = repetition_penalty(settings.repetition_penalty, settings.repetition_context_size)
        self._ngram = no_repeat_ngram(settings.no_repeat_ngram_size) if settings.no_repeat_ngram_size else None
        self._history = prompt if self._repetition else None
        self._answer = mx.zeros((0,), dtype=mx.int32) if self._ngram else None

    def draw(self, logits: mx.array) -> Draw:
        """`logits` (1, V) of the next token, any float type."""
        logits = logits.astype(mx.float32)
        weighed = logits
        if self._repetition:
            weighed = self._repetition(weighed, self._history)
        if self._ngram:
            weighed = self._ngram(weighed, self._answer)
        token = mx.argmax(weighed, axis=-1) if self._greedy else self._sample(weighed)
        self._remember(token)
        if not self._logprobs:
            return Draw(token, None)
        chosen = mx.take_along_axis(logits, token[:, None], axis=-1)[:, 0]
        return Draw(token, chosen - mx.logsumexp(logits, axis=-1))

    def _sample(self, logits: mx.array) -> mx.array:
        logits = logits / self._temperature
        for keep in self._filters:
            logits = keep(logits)
        self._key, key = mx.random.split(self._key)
        return mx.random.categorical(logits, key=key)

    def _remember(self, token: mx.array) -> None:
        if self._history is not None:
            self._history = mx.concatenate([self._history, token.astype(self._history.dtype)])
        if self._answer is not None:
            self._answer = mx.concatenate([self._answer, token.astype(self._answer.dtype)])


def _filters(settings: SamplingSettings) -> list[LogitsFilter]:
    filters: list[LogitsFilter] = []
    if settings.top_k:
        filters.append(top_k_filter(settings.top_k))
    if settings.top_p is not None and settings.top_p < 1:
        filters.append(top_p_filter(settings.top_p))
    if settings.min_p:
        filters.append(min_p_filter(settings.min_p))
    return filters
