"""What is added to or taken off logits for the tokens that are there already: each a pure function of both.

Knows nothing of who chooses. Tokens that the head has no logit for, such as a picture's places, count for nothing.
"""

from collections.abc import Callable, Sequence

import mlx.core as mx

from engine.api.errors import RequestError
from engine.api.settings import SamplingSettings

Penalty = Callable[[mx.array, mx.array], mx.array]
"""Logits (1, V) and the tokens so far (L,) -> logits (1, V)."""

CONTEXT = 20
"""Tokens that presence and frequency look back, as in mlx-lm."""
MOST_BIAS = 100.0


def repetition_penalty(penalty: float, context_size: int | None) -> Penalty:
    """Divide positive and multiply negative logits of tokens already seen (arXiv 1909.05858)."""

    def discourage(logits: mx.array, history: mx.array) -> mx.array:
        changed = mx.where(logits < 0, logits * penalty, logits / penalty)
        return mx.where(counts(history, context_size, logits.shape[-1]) > 0, changed, logits)

    return discourage


def presence_penalty(penalty: float, context_size: int | None) -> Penalty:
    """Take `penalty` off tokens already seen (OpenAI's option of that name)."""

    def discourage(logits: mx.array, history: mx.array) -> mx.array:
        return logits - penalty * (counts(history, context_size, logits.shape[-1]) > 0)

    return discourage


def frequency_penalty(penalty: float, context_size: int | None) -> Penalty:
    """Take `penalty` off for each time that a token was seen (OpenAI's option of that name)."""

    def discourage(logits: mx.array, history: mx.array) -> mx.array:
        return logits - penalty * counts(history, context_size, logits.shape[-1])

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


def logit_bias(biases: Sequence[tuple[int, float]]) -> Callable[[mx.array], mx.array]:
    """Add to the logits of single tokens, at most 100 either way (OpenAI's option of that name).

    What it returns raises `RequestError` for a token that the model does not have.
    """
    last = max(token for token, _ in biases)
    tokens = mx.array([token for token, _ in biases])
    amounts = mx.array([min(max(bias, -MOST_BIAS), MOST_BIAS) for _, bias in biases])

    def weigh(logits: mx.array) -> mx.array:
        if last >= logits.shape[-1]:
            raise RequestError(f"logit_bias names token {last}; the model has {logits.shape[-1]:,}.", "Leave it out.")
        return logits.at[:, tokens].add(amounts)

    return weigh


def counts(history: mx.array, context_size: int | None, size: int) -> mx.array:
    """(size,) int32: how often each token is among the last `context_size` ones; without one, among all."""
    recent = history[-context_size:] if context_size else history
    # An index beyond the end is written somewhere: such tokens have a place of their own, which is cut off.
    places = mx.minimum(recent.astype(mx.int32), size)
    return mx.zeros((size + 1,), dtype=mx.int32).at[places].add(1)[:size]


def penalties_of(settings: SamplingSettings) -> list[Penalty]:
    """Those on what was said before, prompt included, in mlx-lm's order."""
    penalties: list[Penalty] = []
    if settings.repetition_penalty not in (None, 1.0):
        penalties.append(repetition_penalty(settings.repetition_penalty, settings.repetition_context_size))
    if settings.presence_penalty:
        penalties.append(presence_penalty(settings.presence_penalty, _or_usual(settings.presence_context_size)))
    if settings.frequency_penalty:
        penalties.append(frequency_penalty(settings.frequency_penalty, _or_usual(settings.frequency_context_size)))
    return penalties


def _or_usual(context_size: int | None) -> int:
    return CONTEXT if context_size is None else context_size
