"""Which tokens stay in the draw: each filter a pure function from logits to logits, -inf for those that do not.

Knows nothing of keys but the one that is handed to `xtc_filter`. None leaves nothing over.
"""

from collections.abc import Callable, Sequence

import mlx.core as mx

from engine.api.settings import SamplingSettings
from engine.run.penalties import counts

LogitsFilter = Callable[[mx.array], mx.array]
"""(1, V) -> (1, V)."""

XTC_THRESHOLD = 0.1
"""As in mlx-lm."""


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


def xtc_filter(probability: float, threshold: float, spared: Sequence[int]) -> Callable[[mx.array, mx.array], mx.array]:
    """Now and then leave out the likely tokens but the last of them ("exclude top choices",
    github.com/oobabooga/text-generation-webui/pull/6335). `spared` are never left out: line and answer have to end."""
    kept = mx.array(list(spared), dtype=mx.int32)

    def keep(logits: mx.array, key: mx.array) -> mx.array:
        probabilities = mx.softmax(logits, axis=-1, precise=True)
        likely = mx.where(probabilities > threshold, probabilities, mx.inf)
        dropped = probabilities > likely.min(axis=-1, keepdims=True)
        dropped = dropped & (counts(kept, None, logits.shape[-1]) == 0)
        applies = mx.random.uniform(key=key) < probability
        return mx.where(applies & dropped, -mx.inf, logits)

    return keep


def filters_of(settings: SamplingSettings) -> list[LogitsFilter]:
    """Those that need no key, in transformers' order."""
    filters: list[LogitsFilter] = []
    if settings.top_k:
        filters.append(top_k_filter(settings.top_k))
    if settings.top_p is not None and settings.top_p < 1:
        filters.append(top_p_filter(settings.top_p))
    if settings.min_p:
        filters.append(min_p_filter(settings.min_p))
    return filters
