"""MiniCPM-V's tower (4.6): SigLIP, in the middle of which neighbouring patches become one.

Knows nothing of how pictures are cut. It is shown one at a time, so nothing is padded and nothing masked.
"""

import mlx.core as mx
import mlx.nn as nn

from engine.models.layers.activations import gelu_tanh
from engine.models.projectors.pixel_shuffle import side_by_side
from engine.models.recipes.pictures import Pair
from engine.models.towers.vit import Attention, Encoder, NearestEmbeddings, ViTConfig

SIDE = 2
"""Patches along a side of what becomes one."""


class WindowMerger(nn.Module):
    """The patches of a window look at each other and become their mean, and what a layer makes of them."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        width, count = config.hidden_size, SIDE**2
        self.layer_norm1 = nn.LayerNorm(width, config.layer_norm_eps)
        self.self_attn = Attention(config)
        self.pre_norm = nn.LayerNorm(count * width, config.layer_norm_eps)
        self.linear_1 = nn.Linear(count * width, count * config.intermediate_size)
        self.linear_2 = nn.Linear(count * config.intermediate_size, width)

    def __call__(self, x: mx.array, shape: Pair) -> mx.array:
        """(1, rows * columns, D) -> (1, rows / 2 * columns / 2, D)."""
        windows = side_by_side(x.reshape(1, *shape, -1), SIDE).reshape(-1, SIDE**2, x.shape[-1])
        windows = windows + self.self_attn(self.layer_norm1(windows))
        merged = self.linear_1(self.pre_norm(windows.reshape(len(windows), -1)))
        return (self.linear_2(gelu_tanh(merged)) + windows.mean(axis=1))[None]


class MergingSiglip(nn.Module):
    """The tower. Its names are those of the checkpoints."""

    def __init__(self, config: ViTConfig, merges_after: int | None):
        """`merges_after`: the layer behind which patches are merged, `None` for none."""
        super().__init__()
        self._patch = config.patch_size
        self._merges_after = merges_after
        self.embeddings = NearestEmbeddings(config, class_token=False, patch_bias=True)
        self.encoder = Encoder(config)
        self.vit_merger = WindowMerger(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def __call__(self, patches: mx.array, shape: Pair) -> mx.array:
        """(rows * columns, values of a patch), channels last, and (rows, columns), both whole windows
        -> (1, rows, columns, D), or half as many of both."""
        rows, columns = shape
        pixels = patches.reshape(rows, columns, self._patch, self._patch, -1).transpose(4, 0, 2, 1, 3)
        x = self.embeddings(pixels.reshape(1, -1, rows * self._patch, columns * self._patch))
        for number, layer in enumerate(self.encoder.layers):
            x = layer(x)
            if number == self._merges_after:
                x, shape = self.vit_merger(x, shape), (rows // SIDE, columns // SIDE)
        return self.post_layernorm(x).reshape(1, *shape, -1)
