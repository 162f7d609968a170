"""A map made four times smaller on each side by two convolutions, as behind SAM's tower in readers of documents.

Knows nothing of where its map comes from.
"""

import mlx.core as mx
import mlx.nn as nn


class Downsampler(nn.Module):
    """Each convolution halves both sides, rounding up."""

    def __init__(self, in_size: int, between: int, out_size: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_size, between, 3, stride=2, padding=1, bias=False)
        self.conv2 = nn.Conv2d(between, out_size, 3, stride=2, padding=1, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        """(N, H, W, in_size) -> (N, ceil(H / 4), ceil(W / 4), out_size)."""
        return self.conv2(self.conv1(x))


def features_of(side: int) -> int:
    """How many cells are left of a map of `side` x `side`."""
    return (-(-side // 4)) ** 2
