"""Gemma 3's embeddings scaled in the precision of the numbers; mlx-lm rounds the factor to bfloat16 in any.

Knows nothing of how the decoder is built. In float32 the rounding moves logits by thousandths of the largest.
"""

from math import sqrt
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.gemma3_text import Gemma3Model

from engine.models.base import Config


class ScaledGemma3(Gemma3Model):
    def __call__(
        self, inputs: mx.array, cache: list[Any] | None = None, input_embeddings: mx.array | None = None
    ) -> mx.array:
        h = self.embed_tokens(inputs) if input_embeddings is None else input_embeddings
        if h.dtype != mx.bfloat16:
            factor = sqrt(self.args.hidden_size)
            h = h * (factor / mx.array(factor, mx.bfloat16).item())
        return super().__call__(inputs, cache, h)


def scale_exactly(decoder: nn.Module, config: Config) -> None:
    """Let `decoder` multiply its embeddings by sqrt(hidden_size) and nothing near it (transformers
    `modeling_gemma3.py`)."""
    decoder.model = ScaledGemma3(decoder.args)
