"""Qwen3's vision transformer (arXiv 2511.21631): Qwen's blocks with learned positions, looked at half-way too.

Knows nothing of how pictures are resized, nor of what becomes of the further features (DeepStack, arXiv 2406.04334).
"""

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from engine.api.errors import CheckpointError
from engine.models.layers.bilinear import resized
from engine.models.positions import Grid
from engine.models.towers.patch_order import order_in_blocks
from engine.models.towers.qwen_vit import (
    Biases,
    Block,
    PatchEmbed,
    QwenViTConfig,
    patch_shape,
    place_waves,
    sanitize_qwen_vit,
)
from engine.models.towers.slices import Pauses, Slices
from engine.models.towers.vit import MLP


class Merger(nn.Module):
    """Blocks of patches side by side, then two layers; normalised as patches, or `late` as blocks."""

    def __init__(self, config: QwenViTConfig, late: bool) -> None:
        super().__init__()
        width = config.hidden_size * config.merge**2
        self.norm = nn.LayerNorm(width if late else config.hidden_size, config.eps)
        self.linear_fc1 = nn.Linear(width, width)
        self.linear_fc2 = nn.Linear(width, config.out_size)

    def __call__(self, x: mx.array) -> mx.array:
        """(N, D) -> (N / merge^2, out)"""
        x = self.norm(x.reshape(-1, self.norm.weight.shape[0]))
        return self.linear_fc2(nn.gelu(self.linear_fc1(x.reshape(-1, self.linear_fc1.weight.shape[0]))))


class DeepStackViT(nn.Module):
    """The tower and its mergers. Its names are those of the checkpoints, but for `fc1` and `fc2` of the blocks."""

    def __init__(self, config: QwenViTConfig, positions: int, taps: Sequence[int]) -> None:
        """`positions` learned for a square of patches; `taps` are the blocks looked at half-way. Raises
        `CheckpointError` for what does not go together."""
        super().__init__()
        self.config = config
        self._side = isqrt(positions)
        self._taps = list(taps)
        if self._side**2 != positions:
            raise CheckpointError(f"The vision_config learns {positions} positions, which are no square.")
        if len({*taps}) != len(taps) or any(not 0 <= tap < config.depth for tap in taps):
            raise CheckpointError(f"The vision_config looks behind the blocks {list(taps)} of {config.depth}.")
        self.patch_embed = PatchEmbed(config)
        self.pos_embed = nn.Embedding(positions, config.hidden_size)
        self.blocks = [Block(config, nn.LayerNorm, MLP) for _ in range(config.depth)]
        self.merger = Merger(config, late=False)
        self.deepstack_merger_list = [Merger(config, late=True) for _ in taps]

    def in_slices(self, patches: mx.array, grid: Grid, slices: Slices) -> Pauses:
        """(N, values of a patch), block by block, and how many of them in time, height and width
        -> (N / merge^2, out * (1 + taps)): the tower's features, and beside them those of its taps."""
        order = order_in_blocks(grid, self.config.merge)
        waves = place_waves(order.coordinates, self.config)
        x = self.patch_embed(patches.astype(self.merger.norm.weight.dtype))
        x = x + self._positions(*grid[1:])[tuple(mx.array(order.coordinates.T))]
        deeper = {}
        for number, block in enumerate(self.blocks):
            x = yield from slices.through(block, x, waves, order.frames)
            if number in self._taps:
                deeper[number] = x
        mergers = zip(self._taps, self.deepstack_merger_list, strict=True)
        tapped = dict(sorted((tap, merger(deeper[tap])) for tap, merger in mergers))
        return mx.concatenate([self.merger(x), *tapped.values()], axis=-1)

    def _positions(self, rows: int, columns: int) -> mx.array:
        """(rows, columns, D): the learned square, stretched over a frame corner to corner."""
        table = self.pos_embed(mx.arange(self._side**2)).reshape(self._side, self._side, -1)
        return resized(table, rows, columns, corners=True)


def build_deepstack_vit(vision: Mapping[str, Any]) -> DeepStackViT:
    """The tower of a normalised `vision_config`. Raises `CheckpointError` for what is not known here."""
    config = QwenViTConfig(
        depth=vision["depth"],
        hidden_size=vision["hidden_size"],
        intermediate_size=vision["intermediate_size"],
        out_size=vision["out_hidden_size"],
        heads=vision["num_heads"],
        hidden_act=vision["hidden_act"],
        patch_shape=patch_shape(vision),
        merge=vision["spatial_merge_size"],
        rope_theta=vision["rope_theta"],
        biases=Biases(patch=True),
    )
    return DeepStackViT(config, vision["num_position_embeddings"], vision.get("deepstack_visual_indexes") or ())


def sanitize_deepstack_vit(weights: dict[str, mx.array], prefix: str, config: QwenViTConfig) -> dict[str, mx.array]:
    """The tower's weights under `prefix` in this module's layout."""
    blocks = f"{prefix}blocks."
    renamed = {
        name.replace(".mlp.linear_fc", ".mlp.fc") if name.startswith(blocks) else name: tensor
        for name, tensor in weights.items()
    }
    return sanitize_qwen_vit(renamed, prefix, config)
