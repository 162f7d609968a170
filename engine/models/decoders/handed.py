"""Embeddings handed to a decoder of mlx-lm's that only knows how to look ids up in its own table.

Knows nothing of which decoder it is: for one call the table gives what was handed over.
"""

from typing import Any

import mlx.core as mx
import mlx.nn as nn


class Handed(nn.Module):
    """Stands where the table stood."""

    def __init__(self, table: nn.Module, embeddings: mx.array):
        super().__init__()
        self.as_linear = table.as_linear
        self._embeddings = embeddings

    def __call__(self, ids: mx.array) -> mx.array:
        return self._embeddings


class TakesEmbeddings:
    """In front of an mlx-lm `Model`: the call that the others have."""

    def __call__(
        self, inputs: mx.array, cache: list[Any] | None = None, input_embeddings: mx.array | None = None
    ) -> mx.array:
        if input_embeddings is None:
            return super().__call__(inputs, cache)
        table = self.model.embed_tokens
        self.model.embed_tokens = Handed(table, input_embeddings)
        try:
            return super().__call__(inputs, cache)
        finally:
            self.model.embed_tokens = table


def take_embeddings(decoder: nn.Module) -> None:
    """Let `decoder` be called with `input_embeddings` (B, L, D), which it scales as it scales its own."""
    kind = type(decoder)
    decoder.__class__ = type(kind.__name__, (TakesEmbeddings, kind), {})
