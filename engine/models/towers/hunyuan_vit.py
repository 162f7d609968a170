"""Hunyuan's vision transformer (HunyuanOCR, arXiv 2511.19575): SigLIP's layers at a picture's own shape, learned
positions stretched over it, and features in rows that end in a mark.

Knows nothing of how pictures are resized. Source: transformers' `modeling_hunyuan_vl.py`. Patches come in blocks that
become one feature each.
"""

from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from engine.api.errors import CheckpointError
from engine.models.layers.activations import activation
from engine.models.layers.bilinear import resized
from engine.models.positions import Grid
from engine.models.projectors.tile_rows import rows_with_ends
from engine.models.recipes.pictures import Pair
from engine.models.towers.patch_order import order_in_blocks
from engine.models.towers.slices import Pauses, Slices
from engine.models.towers.vit import EncoderLayer, ViTConfig

PARTS = (
    ("embeddings.", ""),
    ("perceive.proj.0.", "perceive.proj_conv."),
    ("perceive.proj.2.", "perceive.proj_out."),
    (".input_layernorm.", ".layer_norm1."),
    (".post_attention_layernorm.", ".layer_norm2."),
    (".self_attn.o_proj.", ".self_attn.out_proj."),
    (".dense_h_to_4h.", ".fc1."),
    (".dense_4h_to_h.", ".fc2."),
)
"""Of the tensors' names, and what they are here."""

UNUSED = "perceive.image_sep"


class Perceive(nn.Module):
    """Blocks of patches to features, with a mark behind each row, one before all of them and one behind."""

    def __init__(self, config: ViTConfig, merge: int, out_size: int) -> None:
        super().__init__()
        width = config.hidden_size
        self._activation = activation(config.hidden_act)
        self.before_rms = nn.RMSNorm(width, config.layer_norm_eps)
        # Convolutions whose stride is their kernel: matrix products.
        self.proj_conv = nn.Linear(width * merge**2, 2 * width)
        self.proj_out = nn.Linear(2 * width, 4 * width)
        self.mlp = nn.Linear(4 * width, out_size)
        self.image_newline = mx.zeros((4 * width,))
        self.image_begin = mx.zeros((out_size,))
        self.image_end = mx.zeros((out_size,))
        self.after_rms = nn.RMSNorm(out_size, config.layer_norm_eps)

    def __call__(self, x: mx.array, shape: Pair) -> mx.array:
        """(N, D), block by block, and how many rows and columns of blocks -> (rows * (columns + 1) + 2, out)."""
        rows, columns = shape
        blocks = self.before_rms(x).reshape(rows * columns, -1)
        features = self.proj_out(self._activation(self.proj_conv(blocks)))
        features = self.mlp(rows_with_ends(features.reshape(rows, columns, -1), self.image_newline))
        begin, end = (mark[None].astype(features.dtype) for mark in (self.image_begin, self.image_end))
        return self.after_rms(mx.concatenate([begin, features, end]))


class HunyuanViT(nn.Module):
    """The tower and its merger."""

    def __init__(self, vision: Mapping[str, Any], out_size: int) -> None:
        """`vision` is a normalised config. Raises `CheckpointError` for what is missing or not known here."""
        super().__init__()
        if vision["interpolate_mode"] != "bilinear":
            raise CheckpointError(f"Positions stretched by {vision['interpolate_mode']!r} are not known here.")
        names = {"image_size": vision["max_image_size"], "layer_norm_eps": vision["rms_norm_eps"]}
        config = ViTConfig.read({**vision, **names})
        self._config = config
        self.merge = vision["spatial_merge_size"]
        self._side = config.grid
        self.patch_embedding = nn.Linear(config.num_channels * config.patch_size**2, config.hidden_size)
        # The first of them belonged to a class token.
        self.position_embedding = nn.Embedding(self._side**2 + 1, config.hidden_size)
        self.layers = [EncoderLayer(config) for _ in range(config.num_hidden_layers)]
        self.perceive = Perceive(config, self.merge, out_size)

    def in_slices(self, patches: mx.array, grid: Grid, slices: Slices) -> Pauses:
        """(N, values of a patch), block by block, and how many of them in time, height and width
        -> (rows * (columns + 1) + 2, out), where rows and columns are those of blocks."""
        order = order_in_blocks(grid, self.merge)
        table = self.position_embedding(mx.arange(1, self._side**2 + 1)).reshape(self._side, self._side, -1)
        positions = resized(table, *grid[1:])[tuple(mx.array(order.coordinates.T))]
        x = self.patch_embedding(patches.astype(self.perceive.before_rms.weight.dtype)) + positions
        for layer in self.layers:
            x = yield from slices.through(layer, x)
        return self.perceive(x, (grid[1] // self.merge, grid[2] // self.merge))

    def sanitize(self, weights: dict[str, mx.array], prefix: str) -> dict[str, mx.array]:
        """The tower's weights under `prefix` as this module names and shapes them: kernels as matrices. Dropped is a
        mark between pictures that the reference does not use."""
        kept = {}
        for name, tensor in weights.items():
            inner = name.removeprefix(prefix)
            if name.startswith(prefix) and inner == UNUSED:
                continue
            if name.startswith(prefix):
                for old, new in PARTS:
                    inner = inner.replace(old, new)
                name, tensor = prefix + inner, self._as_matrix(inner, tensor)
            kept[name] = tensor
        return kept

    def _as_matrix(self, name: str, kernel: mx.array) -> mx.array:
        """Of the patches' kernel the channels come first, as in the patches; of the others last, as in the blocks."""
        channels = {
            "patch_embedding.weight": self._config.num_channels,
            "perceive.proj_conv.weight": self._config.hidden_size,
            "perceive.proj_out.weight": 2 * self._config.hidden_size,
        }.get(name)
        if channels is None or kernel.ndim != 4:
            return kernel
        last = kernel if kernel.shape[-1] == channels else kernel.transpose(0, 2, 3, 1)
        ordered = last.transpose(0, 3, 1, 2) if name.startswith("patch_embedding.") else last
        return ordered.reshape(len(kernel), -1)
