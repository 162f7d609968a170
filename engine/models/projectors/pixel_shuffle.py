"""Neighbouring patches laid side by side, then projected: by Idefics3 (arXiv 2408.12637), LFM2-VL (2511.23404) and
Aya Vision (2505.08751).

Knows nothing of tiles.
"""

from math import isqrt

import mlx.core as mx
import mlx.nn as nn

from engine.models.projectors.mlp import MLPProjector


def side_by_side(x: mx.array, factor: int) -> mx.array:
    """(N, H, W, D) -> (N, H / factor, W / factor, factor^2 * D), each block of patches row by row."""
    count, height, width, depth = x.shape
    blocks = x.reshape(count, height // factor, factor, width // factor, factor, depth).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(*blocks.shape[:3], -1)


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
        side = isqrt(x.shape[1])
        blocks = side_by_side(x.reshape(len(x), side, side, -1), self._factor)
        return self.modality_projection.proj(blocks.reshape(len(x), -1, blocks.shape[-1]))


class PixelShuffleMLP(MLPProjector):
    """The same blocks through a norm, where there is one, and two layers."""

    def __init__(
        self,
        in_size: int,
        hidden_size: int,
        out_size: int,
        factor: int,
        *,
        hidden_act: str = "gelu",
        bias: bool = True,
        norm: bool = True,
        eps: float = 1e-5,
    ):
        width = in_size * factor**2
        super().__init__(width, out_size, hidden_size=hidden_size, hidden_act=hidden_act, bias=bias)
        self._factor = factor
        if norm:
            self.layer_norm = nn.LayerNorm(width, eps)

    def __call__(self, x: mx.array) -> mx.array:
        """(N, H, W, D) -> (N, H / factor, W / factor, out_size)."""
        x = side_by_side(x, self._factor)
        return super().__call__(self.layer_norm(x) if "layer_norm" in self else x)


class PixelShuffleGate(nn.Module):
    """The same blocks through a norm, where there is one, and a gated layer, whose second half is the gate."""

    def __init__(self, in_size: int, hidden_size: int, out_size: int, factor: int, *, norm_eps: float | None):
        super().__init__()
        width = in_size * factor**2
        self._factor = factor
        if norm_eps is not None:
            self.layernorm = nn.LayerNorm(width, norm_eps)
        self.linear_1 = nn.Linear(width, hidden_size)
        self.linear_2 = nn.Linear(hidden_size // 2, out_size)

    def __call__(self, x: mx.array) -> mx.array:
        """(N, H, W, D) -> (N, H / factor, W / factor, out_size)."""
        x = side_by_side(x, self._factor)
        value, gate = mx.split(self.linear_1(self.layernorm(x) if "layernorm" in self else x), 2, axis=-1)
        return self.linear_2(nn.silu(gate) * value)
