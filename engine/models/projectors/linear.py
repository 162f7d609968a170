"""PaliGemma's projector (arXiv 2407.07726): one linear layer.

Knows nothing of where its features come from.
"""

import mlx.core as mx
import mlx.nn as nn


class LinearProjector(nn.Module):
    def __init__(self, in_size: int, out_size: int):
        super().__init__()
        self.linear = nn.Linear(in_size, out_size)

    def __call__(self, x: mx.array) -> mx.array:
        """(..., in_size) -> (..., out_size)."""
        return self.linear(x)
