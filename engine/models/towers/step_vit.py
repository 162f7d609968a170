"""Step 3.7's vision transformer, after Perception Encoder (arXiv 2504.13181): scaled layers, patches turned by place.

Knows nothing of how pictures are cut. Two convolutions leave one feature of each four by four patches.
"""

from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from engine.api.errors import CheckpointError
from engine.models.layers.bilinear import resized
from engine.models.towers.qwen_vit import Block, QwenViTConfig, place_waves
from engine.models.towers.slices import UNBOUNDED, Slices, all_at_once
from engine.models.towers.vit import MLP, PatchEmbedding, ViTConfig

STRIDE = 4
"""Patches along a side of what becomes one feature."""

OTHER_NAMES = (
    ("transformer.resblocks.", "blocks."),
    ("transformer.", "blocks."),
    ("conv1.", "patch_embedding."),
    (".in_proj_", ".qkv."),
    (".in_proj.", ".qkv."),
    (".out_proj.", ".proj."),
    (".ln_1.", ".norm1."),
    (".ln_2.", ".norm2."),
    (".ls_1.gamma", ".scale1"),
    (".ls_2.gamma", ".scale2"),
    (".c_fc.", ".fc1."),
    (".c_proj.", ".fc2."),
)
"""The checkpoint's parts of a name and this module's."""


class ScaledBlock(Block):
    def __init__(self, config: QwenViTConfig) -> None:
        super().__init__(config, nn.LayerNorm, MLP)
        self.scale1 = mx.ones((config.hidden_size,))
        self.scale2 = mx.ones((config.hidden_size,))

    def answered(
        self, x: mx.array, queries: mx.array, keys: mx.array, values: mx.array, mask: mx.array | None
    ) -> mx.array:
        x = x + self.scale1 * self.attn(queries, keys, values, mask)
        return x + self.scale2 * self.mlp(self.norm2(x))


class StepViT(nn.Module):
    def __init__(self, config: ViTConfig, rope_theta: float) -> None:
        super().__init__()
        width = config.hidden_size
        self._grid = config.grid
        self._turning = QwenViTConfig(
            depth=config.num_hidden_layers,
            hidden_size=width,
            intermediate_size=config.intermediate_size,
            out_size=4 * width,
            heads=config.num_attention_heads,
            hidden_act=config.hidden_act,
            patch_shape=(config.num_channels, 1, config.patch_size, config.patch_size),
            merge=1,
            rope_theta=rope_theta,
            eps=config.layer_norm_eps,
            neighbours=True,
        )
        self.patch_embedding = PatchEmbedding(config, bias=False)
        self.positional_embedding = mx.zeros((config.grid**2, width))
        self.ln_pre = nn.LayerNorm(width, config.layer_norm_eps)
        self.blocks = [ScaledBlock(self._turning) for _ in range(config.num_hidden_layers)]
        self.vit_downsampler1 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.vit_downsampler2 = nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1)

    def __call__(self, pixels: mx.array) -> mx.array:
        """(1, C, H, W), a tile of any size -> (1, N, 4 D)."""
        patches = self.patch_embedding(pixels)[0]
        rows, columns, width = patches.shape
        x = self.ln_pre((patches + self._positions(rows, columns)).reshape(rows * columns, width))
        # Columns come first here.
        places = np.indices((rows, columns)).reshape(2, -1).T[:, [1, 0]]
        waves, at_once = place_waves(places, self._turning), Slices(UNBOUNDED)
        for block in self.blocks:
            x = all_at_once(at_once.through(block, x, waves))
        x = self.vit_downsampler2(self.vit_downsampler1(x.reshape(1, rows, columns, width)))
        return x.reshape(1, -1, x.shape[-1])

    def _positions(self, rows: int, columns: int) -> mx.array:
        table = self.positional_embedding.reshape(self._grid, self._grid, -1)
        return table if (rows, columns) == (self._grid, self._grid) else resized(table, rows, columns)


def build_step_vit(vision: Mapping[str, Any]) -> StepViT:
    """The tower of a normalised `vision_config`. Raises `CheckpointError` for one that is put together otherwise."""
    known = {"use_cls_token": False, "ues_cls_token": False, "use_ln_pre": True, "use_ln_post": False}
    for name, value in (known | {"use_abs_posemb": True, "use_rope2d": True}).items():
        if vision.get(name, value) not in (value, None):
            raise CheckpointError(f"The vision_config's {name} is {vision[name]!r}; known is {value!r}.")
    return StepViT(ViTConfig.read(vision), vision["rope_theta"])


def sanitize_step_vit(weights: dict[str, mx.array], prefix: str, channels: int = 3) -> dict[str, mx.array]:
    """The tower's weights under `prefix` by this module's names and in its layout: kernels as (out, h, w, in)."""
    kept = {}
    for name, tensor in weights.items():
        if name.startswith(prefix):
            for old, new in OTHER_NAMES:
                name = name.replace(old, new)
            is_kernel = tensor.ndim == 4 and name.endswith(".weight")
            inner = channels if "patch_embedding" in name else len(tensor) // 2
            if is_kernel and tensor.shape[-1] != inner:
                tensor = tensor.transpose(0, 2, 3, 1)
        kept[name] = tensor
    return kept
