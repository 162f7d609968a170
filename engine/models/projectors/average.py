"""Gemma 3's projector (arXiv 2503.19786): neighbouring patches averaged, normalised, projected.

Knows nothing of where its features come from.
"""

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.gemma3_text import RMSNorm


class AverageProjector(nn.Module):
    """From `patches` on a side to `features` on a side."""

    def __init__(self, in_size: int, out_size: int, *, patches: int, features: int, eps: float):
        super().__init__()
        self._patches = patches
        self._block = patches // features
        self.mm_soft_emb_norm = RMSNorm(in_size, eps)
        self.mm_input_projection_weight = mx.zeros((in_size, out_size))

    def __call__(self, x: mx.array) -> mx.array:
        """(N, patches ** 2, in_size) -> (N, features ** 2, out_size)."""
        count, _, width = x.shape
        block = self._block
        side = self._patches // block
        squares = x.reshape(count, self._patches, self._patches, width)[:, : side * block, : side * block]
        squares = squares.reshape(count, side, block, side, block, width)
        means = squares.mean(axis=(2, 4)).reshape(count, side * side, width)
        return self.mm_soft_emb_norm(means) @ self.mm_input_projection_weight
