"""SigLIP at a picture's own shape, its patches also turned by row and column: PaddleOCR-VL's tower (arXiv 2510.14528).

Knows nothing of how pictures are resized. Qwen's blocks with learned positions, stretched over the picture; source:
transformers' `modeling_paddleocr_vl.py`. Patches come in blocks that become one feature each.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from engine.models.layers.bilinear import resized
from engine.models.positions import Grid
from engine.models.towers.deepstack_vit import Merger
from engine.models.towers.patch_order import order_in_blocks
from engine.models.towers.qwen_vit import Biases, Block, PatchEmbed, QwenViTConfig, place_waves
from engine.models.towers.slices import Pauses, Slices
from engine.models.towers.vit import MLP, ViTConfig

MERGER_EPS = 1e-5

PARTS = (
    ("embeddings.patch_embedding.", "patch_embed.proj."),
    ("embeddings.position_embedding.", "position_embedding."),
    (".encoder.layers.", ".blocks."),
    (".layers.", ".blocks."),
    (".layer_norm1.", ".norm1."),
    (".layer_norm2.", ".norm2."),
    (".self_attn.out_proj.", ".attn.proj."),
    (".self_attn.", ".attn."),
    (".merger.pre_norm.", ".merger.norm."),
    (".merger.linear_1.", ".merger.linear_fc1."),
    (".merger.linear_2.", ".merger.linear_fc2."),
)
"""Of the tensors' names, and what they are here."""

UNUSED = ("embeddings.packing_position_embedding.", "embeddings.position_ids", "head.")


class TurnedSiglip(nn.Module):
    """The tower and its merger."""

    def __init__(self, vision: Mapping[str, Any], out_size: int) -> None:
        """`vision` is a normalised config. Raises `CheckpointError` for what is missing or not known here."""
        super().__init__()
        shape = ViTConfig.read(vision)
        self._side = shape.grid
        self.config = QwenViTConfig(
            depth=shape.num_hidden_layers,
            hidden_size=shape.hidden_size,
            intermediate_size=shape.intermediate_size,
            out_size=out_size,
            heads=shape.num_attention_heads,
            hidden_act=shape.hidden_act,
            patch_shape=(shape.num_channels, 1, shape.patch_size, shape.patch_size),
            merge=vision["spatial_merge_size"],
            rope_theta=vision["rope_theta"],
            eps=shape.layer_norm_eps,
            biases=Biases(patch=True),
        )
        self.patch_embed = PatchEmbed(self.config)
        self.position_embedding = nn.Embedding(self._side**2, shape.hidden_size)
        self.blocks = [Block(self.config, nn.LayerNorm, MLP) for _ in range(shape.num_hidden_layers)]
        self.post_layernorm = nn.LayerNorm(shape.hidden_size, shape.layer_norm_eps)
        self.merger = Merger(replace(self.config, eps=MERGER_EPS), late=False)

    def in_slices(self, patches: mx.array, grid: Grid, slices: Slices) -> Pauses:
        """(N, values of a patch), block by block, and how many of them in time, height and width
        -> (N / merge^2, out)."""
        order = order_in_blocks(grid, self.config.merge)
        waves = place_waves(order.coordinates, self.config)
        table = self.position_embedding(mx.arange(self._side**2)).reshape(self._side, self._side, -1)
        positions = resized(table, *grid[1:])[tuple(mx.array(order.coordinates.T))]
        x = self.patch_embed(patches.astype(self.post_layernorm.weight.dtype)) + positions
        for block in self.blocks:
            x = yield from slices.through(block, x, waves, order.frames)
        return self.merger(self.post_layernorm(x))


def sanitize_turned_siglip(weights: dict[str, mx.array], prefix: str, channels: int) -> dict[str, mx.array]:
    """The tower's weights under `prefix` as this module names and shapes them: the patch kernel as (out, values of a
    patch), queries, keys and values in one.

    Dropped are the positions for pictures packed together, and SigLIP's pooling head, which the reference leaves out.
    """
    kept: dict[str, mx.array] = {}
    for name, tensor in weights.items():
        if name.startswith(prefix):
            if name.removeprefix(prefix).startswith(UNUSED):
                continue
            for old, new in PARTS:
                name = name.replace(old, new)
            if name == f"{prefix}patch_embed.proj.weight":
                first = tensor if tensor.shape[-1] != channels else tensor.transpose(0, 3, 1, 2)
                tensor = first.reshape(len(tensor), -1)
        kept[name] = tensor
    for name in [name for name in kept if name.startswith(prefix) and ".q_proj." in name]:
        parts = [kept.pop(name.replace(".q_proj.", f".{part}_proj.")) for part in "qkv"]
        kept[name.replace(".q_proj.", ".qkv.")] = mx.concatenate(parts)
    return kept
