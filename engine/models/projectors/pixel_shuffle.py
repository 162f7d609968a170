"""The connector of Idefics3 (arXiv 2408.12637): neighbouring patches are laid side by side, then projected.

Knows nothing of tiles.
"""

from math import isqrt

import mlx.core as mx
import mlx.nn as nn


class Projection(nn.Module):
    def __init__(self, in_size: int, out_size: int):
        super().__init__()
        self.proj = nn.Linear(in_size, out_size, bias=False)


class PixelShuffleConnector(nn.Module):
    """Makes one feature of each `factor` x `factor` block of patches."""

    def __init__(self, in_size: int, out_size: int, factor: int):
        super().__init__()
        self._factor = factor
        self.modality_projection = Projection(in_size * factor**2, out_size)

    def __call__(self, x: mx.array) -> mx.array:
        """(N, side * side, D) -> (N, (side / factor)^2, out_size)."""
        count, length, width = x.shape
        factor, blocks = self._factor, isqrt(length) // self._factor
        x = x.reshape(count, blocks, factor, blocks, factor, width).transpose(0, 1, 3, 2, 4, 5)
        return self.modality_projection.proj(x.reshape(count, blocks**2, -1))
