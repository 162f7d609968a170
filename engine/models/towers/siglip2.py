"""SigLIP 2's tower for pictures at their own shape (NaFlex, arXiv 2502.14786): SigLIP's layers, stretched positions.

Knows nothing of how pictures are cut. It is shown one at a time, so nothing is padded and nothing masked.
"""

from collections.abc import Mapping
from math import isqrt
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from engine.api.errors import CheckpointError
from engine.models.layers.bilinear import smoothly_resized
from engine.models.recipes.pictures import Pair
from engine.models.towers.vit import Encoder, ViTConfig


def read_siglip2(config: Mapping[str, Any]) -> ViTConfig:
    """Of a normalised `vision_config`. Raises `CheckpointError` where its positions do not form a square."""
    side = isqrt(config["num_patches"])
    if side**2 != config["num_patches"]:
        raise CheckpointError(f"The vision_config has {config['num_patches']} positions, which form no square.")
    return ViTConfig.read({**config, "image_size": side * config["patch_size"]})


class StretchedEmbeddings(nn.Module):
    """Patches with their positions: the learned square of them, resized to the picture's shape."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        self._grid = config.grid
        self.patch_embedding = nn.Linear(config.num_channels * config.patch_size**2, config.hidden_size)
        self.position_embedding = nn.Embedding(config.grid**2, config.hidden_size)

    def __call__(self, patches: mx.array, shape: Pair) -> mx.array:
        """(N, height * width * channels of a patch), row by row, and how many rows and columns -> (1, N, D)."""
        square = self.position_embedding(mx.arange(self._grid**2)).reshape(self._grid, self._grid, -1)
        positions = smoothly_resized(square, *shape).reshape(len(patches), -1)
        return (self.patch_embedding(patches.astype(positions.dtype)) + positions)[None]


class Siglip2Tower(nn.Module):
    def __init__(self, config: ViTConfig):
        super().__init__()
        self.embeddings = StretchedEmbeddings(config)
        self.encoder = Encoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def __call__(self, patches: mx.array, shape: Pair) -> mx.array:
        """(rows * columns, values of a patch) and (rows, columns) -> (1, rows, columns, D)."""
        x = self.embeddings(patches, shape)
        for layer in self.encoder.layers:
            x = layer(x)
        return self.post_layernorm(x).reshape(1, *shape, -1)
