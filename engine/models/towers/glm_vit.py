"""GLM's vision transformer (arXiv 2507.01006): Qwen's blocks, blocks of patches downsampled by a convolution.

Knows nothing of how pictures are resized. GLM-4V adds learned positions, stretched over each frame; GLM-OCR has none.
"""

import mlx.core as mx
import mlx.nn as nn

from engine.models.layers.activations import activation
from engine.models.layers.bicubic import resized
from engine.models.positions import Grid
from engine.models.towers.patch_order import PatchOrder, order_in_blocks
from engine.models.towers.qwen_vit import (
    Block,
    GatedMLP,
    PatchEmbed,
    QwenViTConfig,
    place_waves,
    sanitize_qwen_vit,
)
from engine.models.towers.slices import Pauses, Slices


class Merger(nn.Module):
    """From a block's feature to the decoder's: a normalised projection, then a gated layer."""

    def __init__(self, size: int, hidden_size: int, hidden_act: str) -> None:
        super().__init__()
        self._activation = activation(hidden_act)
        self.proj = nn.Linear(size, size, bias=False)
        self.post_projection_norm = nn.LayerNorm(size)
        self.gate_proj = nn.Linear(size, hidden_size, bias=False)
        self.up_proj = nn.Linear(size, hidden_size, bias=False)
        self.down_proj = nn.Linear(hidden_size, size, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        """(N, size) -> the same shape."""
        x = nn.gelu(self.post_projection_norm(self.proj(x)))
        return self.down_proj(self._activation(self.gate_proj(x)) * self.up_proj(x))


class Positions(nn.Module):
    """Learned for a square of patches."""

    def __init__(self, side: int, size: int) -> None:
        super().__init__()
        self._side = side
        self.position_embedding = nn.Embedding(side**2, size)

    def __call__(self, rows: int, columns: int) -> mx.array:
        """(rows, columns, size)"""
        table = self.position_embedding(mx.arange(self._side**2))
        return resized(table.reshape(self._side, self._side, -1), rows, columns).astype(table.dtype)


class GlmViT(nn.Module):
    """The tower and its merger. Its names are those of the checkpoints."""

    def __init__(self, config: QwenViTConfig, merger_size: int, positions: int | None) -> None:
        """`positions` are those along a side, `None` without."""
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        if positions is not None:
            self.post_conv_layernorm = nn.RMSNorm(config.hidden_size, config.eps)
            self.embeddings = Positions(positions, config.hidden_size)
        self.blocks = [Block(config, nn.RMSNorm, GatedMLP) for _ in range(config.depth)]
        self.post_layernorm = nn.RMSNorm(config.hidden_size, config.eps)
        # A convolution whose stride is its kernel: one matrix product.
        self.downsample = nn.Linear(config.hidden_size * config.merge**2, config.out_size)
        self.merger = Merger(config.out_size, merger_size, config.hidden_act)

    def in_slices(self, patches: mx.array, grid: Grid, slices: Slices) -> Pauses:
        """(N, values of a patch), block by block, and how many of them in time, height and width
        -> (N / merge^2, out)."""
        order = order_in_blocks(grid, self.config.merge)
        waves = place_waves(order.coordinates, self.config)
        x = self._embedded(patches.astype(self.post_layernorm.weight.dtype), grid, order)
        for block in self.blocks:
            x = yield from slices.through(block, x, waves, order.frames)
        x = self.post_layernorm(x).reshape(-1, self.config.merge**2 * x.shape[-1])
        return self.merger(self.downsample(x))

    def _embedded(self, patches: mx.array, grid: Grid, order: PatchOrder) -> mx.array:
        x = self.patch_embed(patches)
        if "embeddings" not in self:
            return x
        rows, columns = mx.array(order.coordinates.T)
        return self.post_conv_layernorm(x) + self.embeddings(*grid[1:])[rows, columns]


def sanitize_glm_vit(weights: dict[str, mx.array], prefix: str, config: QwenViTConfig) -> dict[str, mx.array]:
    """The tower's weights under `prefix` in this module's layout: both kernels as matrices, whether they came with
    their channels first or, from mlx-community, last."""
    weights = sanitize_qwen_vit(weights, prefix, config)
    name = f"{prefix}downsample.weight"
    kernel = weights.get(name)
    if kernel is None or kernel.ndim != 4:
        return weights
    if kernel.shape[1:] == (config.hidden_size, config.merge, config.merge):
        kernel = kernel.transpose(0, 2, 3, 1)
    return weights | {name: kernel.reshape(len(kernel), -1)}
