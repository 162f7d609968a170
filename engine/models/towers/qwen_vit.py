"""Qwen's vision transformer (arXiv 2409.12191, 2502.13923): patches of a picture of any shape, rotated by place.

Knows nothing of how pictures are resized. Each frame is by itself; `window` narrows most blocks' sight further.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from engine.api.errors import CheckpointError
from engine.models.layers import gated_mlp
from engine.models.layers.attention import attended
from engine.models.layers.mrope import Waves, neighbours_turned, turned
from engine.models.positions import Grid
from engine.models.towers.patch_order import PatchOrder, order_in_blocks, order_in_windows
from engine.models.towers.slices import Asked, LayerSizes, Pauses, Slices

EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Biases:
    """Which layers have one."""

    patch: bool = False
    qkv: bool = True
    out: bool = True
    mlp: bool = True


@dataclass(frozen=True, slots=True)
class QwenViTConfig:
    depth: int
    hidden_size: int
    intermediate_size: int
    out_size: int
    heads: int
    hidden_act: str
    patch_shape: tuple[int, int, int, int]
    """Channels, frames, height and width."""
    merge: int
    """Patches along a side of what becomes one feature."""
    rope_theta: float
    window: int | None = None
    """Features along a side of a window."""
    whole_blocks: frozenset[int] = frozenset()
    """Those that look at whole frames all the same."""
    eps: float = EPS
    biases: Biases = Biases()
    head_norms: bool = False
    """Whether the queries and keys of each head are normalised."""
    neighbours: bool = False
    """Whether channels side by side are turned together, and not those of a head's two halves."""

    def __post_init__(self) -> None:
        if self.hidden_size % (4 * self.heads):
            raise CheckpointError(
                f"The vision_config splits {self.hidden_size} channels into {self.heads} heads, which cannot be turned."
            )
        if self.window is not None and self.window < 1:
            raise CheckpointError("The vision_config's windows are smaller than what becomes one feature.")


def patch_shape(config: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """Of a normalised `vision_config`."""
    return config["in_channels"], config["temporal_patch_size"], config["patch_size"], config["patch_size"]


class PatchEmbed(nn.Module):
    """A convolution whose stride is its kernel: one matrix product."""

    def __init__(self, config: QwenViTConfig) -> None:
        super().__init__()
        self.proj = nn.Linear(int(np.prod(config.patch_shape)), config.hidden_size, bias=config.biases.patch)

    def __call__(self, patches: mx.array) -> mx.array:
        return self.proj(patches)


class Attention(nn.Module):
    def __init__(self, config: QwenViTConfig) -> None:
        super().__init__()
        self._heads = config.heads
        self._turned = neighbours_turned if config.neighbours else turned
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.biases.qkv)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size, bias=config.biases.out)
        if config.head_norms:
            self.q_norm = nn.RMSNorm(config.hidden_size // config.heads, config.eps)
            self.k_norm = nn.RMSNorm(config.hidden_size // config.heads, config.eps)

    def projected(self, x: mx.array, waves: Waves) -> Asked:
        """(N, D) -> queries, keys and values."""
        queries, keys, values = mx.split(self.qkv(x).reshape(len(x), 3 * self._heads, -1), 3, axis=1)
        if "q_norm" in self:
            queries, keys = self.q_norm(queries), self.k_norm(keys)
        return self._turned(queries, *waves), self._turned(keys, *waves), values

    def __call__(self, queries: mx.array, keys: mx.array, values: mx.array, mask: mx.array | None) -> mx.array:
        """(G, heads, n, d), grouped -> (G * n, D)."""
        mixed = attended(queries, keys, values, mask).swapaxes(1, 2)
        return self.proj(mixed.reshape(mixed.shape[0] * mixed.shape[1], -1))


class GatedMLP(gated_mlp.GatedMLP):
    def __init__(self, config: QwenViTConfig) -> None:
        width, inner = config.hidden_size, config.intermediate_size
        super().__init__(width, inner, hidden_act=config.hidden_act, bias=config.biases.mlp)


Norm = Callable[[int, float], nn.Module]
MLP = Callable[[QwenViTConfig], nn.Module]


class Block(nn.Module):
    def __init__(self, config: QwenViTConfig, norm: Norm, mlp: MLP) -> None:
        super().__init__()
        self.sizes = LayerSizes(config.hidden_size, config.intermediate_size, config.heads)
        self.norm1 = norm(config.hidden_size, config.eps)
        self.norm2 = norm(config.hidden_size, config.eps)
        self.attn = Attention(config)
        self.mlp = mlp(config)

    def asked(self, x: mx.array, *waves: mx.array) -> Asked:
        return self.attn.projected(self.norm1(x), waves)

    def answered(
        self, x: mx.array, queries: mx.array, keys: mx.array, values: mx.array, mask: mx.array | None
    ) -> mx.array:
        x = x + self.attn(queries, keys, values, mask)
        return x + self.mlp(self.norm2(x))


class PatchMerger(nn.Module):
    """Blocks of patches side by side, then two layers."""

    def __init__(self, config: QwenViTConfig, norm: Norm) -> None:
        super().__init__()
        width = config.hidden_size * config.merge**2
        self.ln_q = norm(config.hidden_size, config.eps)
        self.mlp = [nn.Linear(width, width), nn.GELU(), nn.Linear(width, config.out_size)]

    def __call__(self, x: mx.array) -> mx.array:
        """(N, D) -> (N / merge^2, out)"""
        first, gelu, second = self.mlp
        x = self.ln_q(x).reshape(-1, first.weight.shape[0])
        return second(gelu(first(x)))


class QwenViT(nn.Module):
    """The tower and its merger. Its names are those of the checkpoints."""

    def __init__(self, config: QwenViTConfig, norm: Norm, mlp: MLP) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        self.blocks = [Block(config, norm, mlp) for _ in range(config.depth)]
        self.merger = PatchMerger(config, norm)

    def in_slices(self, patches: mx.array, grid: Grid, slices: Slices) -> Pauses:
        """(N, values of a patch), block by block, and how many of them in time, height and width
        -> (N / merge^2, out)."""
        order = self._order(grid)
        waves = place_waves(order.coordinates, self.config)
        # A norm's dtype is the tower's; that of a layer may be how it is packed.
        x = self.patch_embed(patches.astype(self.merger.ln_q.weight.dtype))[mx.array(order.patches)]
        for number, block in enumerate(self.blocks):
            groups = order.frames if number in self.config.whole_blocks else order.windows
            x = yield from slices.through(block, x, waves, groups)
        return self.merger(x)[mx.array(order.blocks)]

    def _order(self, grid: Grid) -> PatchOrder:
        if self.config.window is None:
            return order_in_blocks(grid, self.config.merge)
        return order_in_windows(grid, self.config.merge, self.config.window)


def place_waves(coordinates: np.ndarray, config: QwenViTConfig) -> Waves:
    """Rows and columns (N, 2) -> (N, 1, channels of a head / 2) each: half of them by row, half by column."""
    half = config.hidden_size // config.heads // 2
    frequencies = config.rope_theta ** (-mx.arange(0, half, 2) / half)
    angles = (mx.array(coordinates)[..., None] * frequencies).reshape(len(coordinates), 1, half)
    return mx.cos(angles), mx.sin(angles)


def sanitize_qwen_vit(weights: dict[str, mx.array], prefix: str, config: QwenViTConfig) -> dict[str, mx.array]:
    """The tower's weights under `prefix` in this module's layout: the patch kernel as (out, values of a patch), whether
    it came with its channels first or, from mlx-community, last."""
    name = f"{prefix}patch_embed.proj.weight"
    kernel = weights.get(name)
    if kernel is None or kernel.ndim != 5:
        return weights
    if kernel.shape[1:] != config.patch_shape:
        kernel = kernel.transpose(0, 4, 1, 2, 3)
    return weights | {name: kernel.reshape(len(kernel), -1)}
