"""Heads that a config ties to the embeddings and mlx-lm's decoder does not, or the other way round.

Knows nothing of which decoder it is.
"""

from typing import Any

import mlx.core as mx
import mlx.nn as nn

from engine.models.base import Config


class TakesHead:
    """In front of an mlx-lm `Model`."""

    def __call__(
        self, inputs: mx.array, cache: list[Any] | None = None, input_embeddings: mx.array | None = None
    ) -> mx.array:
        if self.args.tie_word_embeddings:
            return super().__call__(inputs, cache, input_embeddings)
        return self.lm_head(self.model(inputs, cache, input_embeddings))

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        """As in mlx-lm's others: a copy of the embeddings is dropped."""
        weights = super().sanitize(weights)
        if self.args.tie_word_embeddings:
            weights.pop("lm_head.weight", None)
        return weights


def take_head(decoder: nn.Module, config: Config) -> None:
    """Give `decoder` a head where its config says that it is not the embeddings."""
    kind = type(decoder)
    decoder.__class__ = type(kind.__name__, (TakesHead, kind), {})
    decoder.args.tie_word_embeddings = config.get("tie_word_embeddings", True)
    if not decoder.args.tie_word_embeddings:
        decoder.lm_head = nn.Linear(config["hidden_size"], config["vocab_size"], bias=False)


def head_from_embeddings(weights: dict[str, mx.array]) -> dict[str, mx.array]:
    """`weights` of a model, with the embeddings as the head too, for a decoder that always has one of its own. A head
    that is there stays."""
    table, head = "language_model.model.embed_tokens.", "language_model.lm_head."
    return {name.replace(table, head): tensor for name, tensor in weights.items() if name.startswith(table)} | weights
