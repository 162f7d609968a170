"""Gemma 4's projector: features normalised, then one linear layer without bias.

Knows nothing of where its features come from. Source: transformers `modeling_gemma4.py`, `Gemma4MultimodalEmbedder`.
"""

import mlx.core as mx
import mlx.nn as nn


class NormedProjector(nn.Module):
    def __init__(self, in_size: int, out_size: int, *, eps: float):
        super().__init__()
        self._eps = eps
        self.embedding_projection = nn.Linear(in_size, out_size, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        """(..., in_size) -> (..., out_size)."""
        return self.embedding_projection(mx.fast.rms_norm(x, None, self._eps))
