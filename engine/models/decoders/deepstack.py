"""DeepStack (arXiv 2406.04334): what the tower saw half-way is added between the layers of a decoder of mlx-lm's.

Knows no tower. The additions travel beside the embeddings as further columns, so that whatever cuts a prompt into
pieces, or puts prompts side by side, cuts them alike.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from engine.api.errors import CheckpointError


class _AddsBehind:
    """In front of a layer: what comes out of it, and this step's addition."""

    def __call__(self, *args: Any, **options: Any) -> mx.array:
        return self._stack.added(super().__call__(*args, **options), self._number)


class _AddsAhead:
    """In front of a layer: what goes into it, and this step's addition."""

    def __call__(self, hidden: mx.array, *args: Any, **options: Any) -> mx.array:
        return super().__call__(self._stack.added(hidden, self._number), *args, **options)


class DeepStack:
    def __init__(self, decoder: nn.Module, width: int, layers: Sequence[int], *, ahead: bool = False) -> None:
        """Additions (width,) behind these `layers` of `decoder`, or `ahead` of them. Raises `CheckpointError` if one is
        named twice or is not there."""
        if len(set(layers)) < len(layers) or not set(layers) <= set(range(len(decoder.layers))):
            raise CheckpointError(
                f"The tower gives features for the layers {list(layers)}, the decoder has {len(decoder.layers)}."
            )
        self._width = width
        self._depth = len(layers)
        self._additions: list[mx.array] = []
        adds = _AddsAhead if ahead else _AddsBehind
        for number, layer in enumerate(decoder.layers[place] for place in layers):
            kind = type(layer)
            layer.__class__ = type(kind.__name__, (adds, kind), {"_stack": self, "_number": number})

    def split(self, features: mx.array) -> tuple[mx.array, mx.array]:
        """(..., width * (1 + depth)) -> what is embedded (..., width), what is added later (..., width * depth)."""
        return features[..., : self._width], features[..., self._width :]

    def beside(self, embeddings: mx.array, slots: mx.array, additions: mx.array) -> mx.array:
        """Embeddings (1, L, width) and, at their `slots` (N,), the `additions` (N, width * depth)
        -> (1, L, width * (1 + depth)); nothing is added to other tokens."""
        deeper = mx.zeros((*embeddings.shape[:2], self._width * self._depth), embeddings.dtype)
        deeper[0, slots] = additions.astype(embeddings.dtype)
        return mx.concatenate([embeddings, deeper], axis=-1)

    @contextmanager
    def during(self, embeddings: mx.array | None) -> Iterator[mx.array | None]:
        """The embeddings (B, L, width) of a step whose additions, (B, L, width * depth) beside them, are made in here;
        without those, or without embeddings, nothing is added."""
        if embeddings is not None:
            embeddings, deeper = self.split(embeddings)
            self._additions = mx.split(deeper, self._depth, axis=-1) if deeper.shape[-1] else []
        try:
            yield embeddings
        finally:
            self._additions = []

    def added(self, hidden: mx.array, number: int) -> mx.array:
        """(B, L, width) at the layer that was named at this place."""
        return hidden + self._additions[number] if self._additions else hidden
