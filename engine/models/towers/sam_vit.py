"""SAM's vision transformer (arXiv 2304.02643): most layers look around in windows, by how far away things are.

Knows nothing of what is read from its maps. Source: transformers' `modeling_got_ocr2.py`. What a query gives for a
distance is put beside its channels, and which row and column a key lies in beside the key's; so it is plain attention.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from engine.api.errors import CheckpointError
from engine.models.layers.attention import attended
from engine.models.layers.bicubic import smoothly_resized
from engine.models.layers.bilinear import resized
from engine.models.towers.vit import MLP, PatchEmbedding, ViTConfig

NECK_EPS = 1e-6

PARTS = (
    ("patch_embed.projection.", "patch_embed."),
    ("patch_embed.proj.", "patch_embed."),
    (".blocks.", ".layers."),
    (".norm1.", ".layer_norm1."),
    (".norm2.", ".layer_norm2."),
    (".mlp.lin1.", ".mlp.fc1."),
    (".mlp.lin2.", ".mlp.fc2."),
    (".neck.0.", ".neck.conv1."),
    (".neck.1.", ".neck.layer_norm1."),
    (".neck.2.", ".neck.conv2."),
    (".neck.3.", ".neck.layer_norm2."),
)
"""Of the tensors' names in transformers and in Meta's own code, and what they are here."""


@dataclass(frozen=True, slots=True)
class SamViTConfig(ViTConfig):
    output_channels: int = 256
    qkv_bias: bool = True
    window_size: int = 14
    global_attn_indexes: tuple[int, ...] = (2, 5, 8, 11)
    """The layers that look at the whole map."""

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> "SamViTConfig":
        """From a normalised config. Raises `CheckpointError` for what is missing or not known here."""
        for key in ("use_abs_pos", "use_rel_pos"):
            if not config.get(key, True):
                raise CheckpointError(f"The vision_config says {key}: false, which is not known here.")
        # Without arguments `super` would look for the class that dataclass has replaced to give it slots.
        return super(SamViTConfig, cls).read({**config, "intermediate_size": config["mlp_dim"]})


class DistanceAttention(nn.Module):
    """Over a map of `side` x `side` patches."""

    def __init__(self, config: SamViTConfig, side: int):
        super().__init__()
        width = config.hidden_size // config.num_attention_heads
        self._heads = config.num_attention_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.qkv_bias)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.rel_pos_h = mx.zeros((2 * side - 1, width))
        self.rel_pos_w = mx.zeros((2 * side - 1, width))

    def __call__(self, x: mx.array) -> mx.array:
        """(N, H, W, D) -> the same."""
        count, height, width, _ = x.shape
        queries, keys, values = (
            self.qkv(x).reshape(count, height, width, 3, self._heads, -1).transpose(3, 0, 4, 1, 2, 5)
        )
        down = queries @ by_distance(self.rel_pos_h, height)
        across = (queries.swapaxes(2, 3) @ by_distance(self.rel_pos_w, width)).swapaxes(2, 3)
        places = mx.concatenate(
            [
                mx.broadcast_to(mx.eye(height, dtype=x.dtype)[:, None], (height, width, height)),
                mx.broadcast_to(mx.eye(width, dtype=x.dtype), (height, width, width)),
            ],
            axis=-1,
        )
        places = mx.broadcast_to(places, (*keys.shape[:-1], height + width))
        scaled = queries * queries.shape[-1] ** -0.5
        mixed = attended(
            _flat(mx.concatenate([scaled, down, across], axis=-1)),
            _flat(mx.concatenate([keys, places], axis=-1)),
            _flat(values),
            scale=1.0,
        )
        return self.proj(mixed.swapaxes(1, 2).reshape(x.shape))


def by_distance(table: mx.array, length: int) -> mx.array:
    """(distances, d) -> (length, d, length): for each place, what stands in the table for every other. A table of
    other distances is stretched."""
    places = np.arange(length)
    if len(table) != 2 * length - 1:
        table = resized(table[:, None], 2 * length - 1, 1)[:, 0]
    return table[mx.array(places[:, None] - places + length - 1)].swapaxes(1, 2)


def _flat(x: mx.array) -> mx.array:
    """(N, heads, H, W, d) -> (N, heads, H * W, d)"""
    return x.reshape(*x.shape[:2], -1, x.shape[-1])


class SamLayer(nn.Module):
    def __init__(self, config: SamViTConfig, window: int | None):
        super().__init__()
        self._window = window
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.attn = DistanceAttention(config, window or config.grid)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.mlp = MLP(config)

    def __call__(self, x: mx.array) -> mx.array:
        normed = self.layer_norm1(x)
        x = x + (self.attn(normed) if self._window is None else self._in_windows(normed, self._window))
        return x + self.mlp(self.layer_norm2(x))

    def _in_windows(self, x: mx.array, side: int) -> mx.array:
        """Zeros fill those at the right and below, and are looked at, as in the reference."""
        count, height, width, depth = x.shape
        x = mx.pad(x, [(0, 0), (0, -height % side), (0, -width % side), (0, 0)])
        down, across = x.shape[1] // side, x.shape[2] // side
        windows = x.reshape(count, down, side, across, side, depth).swapaxes(2, 3)
        seen = self.attn(windows.reshape(-1, side, side, depth)).reshape(windows.shape)
        return seen.swapaxes(2, 3).reshape(x.shape)[:, :height, :width]


class Neck(nn.Module):
    """Two convolutions without bias, each with a norm behind it."""

    def __init__(self, config: SamViTConfig):
        super().__init__()
        width = config.output_channels
        self.conv1 = nn.Conv2d(config.hidden_size, width, 1, bias=False)
        self.layer_norm1 = nn.LayerNorm(width, NECK_EPS)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.layer_norm2 = nn.LayerNorm(width, NECK_EPS)

    def __call__(self, x: mx.array) -> mx.array:
        return self.layer_norm2(self.conv2(self.layer_norm1(self.conv1(x))))


class SamViT(nn.Module):
    def __init__(self, config: SamViTConfig):
        super().__init__()
        self.patch_embed = PatchEmbedding(config, bias=True)
        self.pos_embed = mx.zeros((1, config.grid, config.grid, config.hidden_size))
        self.layers = [
            SamLayer(config, None if number in config.global_attn_indexes else config.window_size)
            for number in range(config.num_hidden_layers)
        ]
        self.neck = Neck(config)

    def __call__(self, pixels: mx.array) -> mx.array:
        """(N, C, H, W) -> (N, H / patch, W / patch, output_channels). A map of another size than the tower was made for
        takes the learned positions resized."""
        x = self.patch_embed(pixels)
        learned = self.pos_embed[0]
        if learned.shape[:2] != x.shape[1:3]:
            learned = smoothly_resized(learned, *x.shape[1:3]).astype(learned.dtype)
        x = x + learned
        for layer in self.layers:
            x = layer(x)
        return self.neck(x)


def sanitize_sam_vit(weights: dict[str, mx.array], prefix: str, config: SamViTConfig) -> dict[str, mx.array]:
    """The tower's weights under `prefix` as this module names and shapes them: kernels as (out, h, w, in)."""
    inputs = {
        "patch_embed.weight": config.num_channels,
        "neck.conv1.weight": config.hidden_size,
        "neck.conv2.weight": config.output_channels,
    }
    kept = {}
    for name, tensor in weights.items():
        if name.startswith(prefix):
            for old, new in PARTS:
                name = name.replace(old, new)
            channels = inputs.get(name.removeprefix(prefix))
            tensor = tensor if channels is None else channels_last(tensor, channels)
        kept[name] = tensor
    return kept


def channels_last(kernel: mx.array, channels: int) -> mx.array:
    """A kernel of so many input channels as (out, h, w, in), whether they came second or last."""
    return kernel if kernel.shape[-1] == channels else kernel.transpose(0, 2, 3, 1)
