"""Sliding windows over feature maps with TensorFlow's SAME padding, for layers that mix no channels.

Knows nothing of weights' names. Written with slices and products: on MLX's CPU back end they are several times faster
than its grouped convolution.
"""

from collections.abc import Iterator

import mlx.core as mx
import mlx.nn as nn


def pad_same(x: mx.array, kernel: int, stride: int) -> mx.array:
    """(B, H, W, C) padded with zeros so that windows give ceil(H / stride) rows; the odd row goes to the end."""
    height, width = (_same_padding(size, kernel, stride) for size in x.shape[1:3])
    return mx.pad(x, [(0, 0), height, width, (0, 0)])


def shifted_views(x: mx.array, kernel: int, stride: int) -> Iterator[tuple[int, int, mx.array]]:
    """Row and column in the window, and what all windows of a SAME-padded `x` (B, H, W, C) hold there."""
    padded = pad_same(x, kernel, stride)
    height, width = ((size - kernel) // stride * stride + 1 for size in padded.shape[1:3])
    for row in range(kernel):
        for column in range(kernel):
            yield row, column, padded[:, row : row + height : stride, column : column + width : stride]


def average_pool_same(x: mx.array, kernel: int, stride: int) -> mx.array:
    """(B, H, W, C) averaged over windows; cells outside the map are not counted."""
    total = sum(view for _, _, view in shifted_views(x, kernel, stride))
    inside = sum(view for _, _, view in shifted_views(mx.ones((1, *x.shape[1:3], 1)), kernel, stride))
    return total / inside


class DepthwiseConv(nn.Module):
    """One `kernel` x `kernel` filter a channel. `weight` (kernel, kernel, C), `bias` (C,)."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.weight = mx.zeros((kernel, kernel, channels))
        self.bias = mx.zeros((channels,))

    def __call__(self, x: mx.array) -> mx.array:
        """(B, H, W, C) -> (B, ceil(H / stride), ceil(W / stride), C)"""
        kernel, _, channels = self.weight.shape
        if mx.default_device().type == mx.DeviceType.gpu:
            # Metal has a kernel of its own for this; written without a Mac, not run.
            weight = self.weight.transpose(2, 0, 1)[..., None]
            return mx.conv2d(pad_same(x, kernel, self.stride), weight, self.stride, groups=channels) + self.bias
        total = self.bias
        for row, column, view in shifted_views(x, kernel, self.stride):
            total = total + view * self.weight[row, column]
        return total


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
