"""Granite 4 Vision's projector: features halved on each side, window by window, by queries that look at the window.

Knows nothing of where its features come from. Source: transformers `modeling_granite4_vision.py`.
"""

from math import isqrt

import mlx.core as mx
import mlx.nn as nn

from engine.models.layers.qformer import QFormer, QFormerConfig

EPS = 1e-6


class WindowQFormer(nn.Module):
    def __init__(self, config: QFormerConfig, out_size: int, *, window: int, corner: tuple[int, int] | None):
        """`window` features on a side are looked at by half as many queries, which begin as the mean of four features
        each, or as the one at this `corner` of the four."""
        super().__init__()
        self._window = window
        self._corner = corner
        self.norm = nn.LayerNorm(config.hidden_size, EPS)
        self.query = mx.zeros((1, (window // 2) ** 2, config.hidden_size))
        self.image_positions = mx.zeros((1, window**2, config.hidden_size))
        self.qformer = QFormer(config)
        self.out_linear = nn.Linear(config.hidden_size, out_size)

    def __call__(self, x: mx.array) -> mx.array:
        """(N, side * side, D) -> (N, (side / 2)^2, out); `side` a multiple of the window's."""
        count, length, width = x.shape
        side = isqrt(length)
        x = self.norm(x).reshape(count, side, side, width)
        queries = in_windows(self._halved(x), self._window // 2) + self.query
        seen = self.qformer(queries, in_windows(x, self._window) + self.image_positions)
        return self.out_linear(side_by_side(seen, side // self._window).reshape(count, length // 4, width))

    def _halved(self, x: mx.array) -> mx.array:
        count, side, _, width = x.shape
        fours = x.reshape(count, side // 2, 2, side // 2, 2, width)
        if self._corner is None:
            return fours.mean(axis=(2, 4))
        row, column = self._corner
        return fours[:, :, row, :, column]


def in_windows(x: mx.array, window: int) -> mx.array:
    """(N, side, side, D) -> (N * windows, window * window, D)."""
    count, side, _, width = x.shape
    cut = x.reshape(count, side // window, window, side // window, window, width).swapaxes(2, 3)
    return cut.reshape(-1, window**2, width)


def side_by_side(windows: mx.array, along: int) -> mx.array:
    """(N * along * along, window * window, D) -> (N, along * window, along * window, D)."""
    window, width = isqrt(windows.shape[1]), windows.shape[2]
    cut = windows.reshape(-1, along, along, window, window, width).swapaxes(2, 3)
    return cut.reshape(-1, along * window, along * window, width)
