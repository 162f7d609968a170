"""Pixtral's vision transformer (arXiv 2410.07073): pictures of any shape, their patches turned by row and column.

Knows nothing of how pictures are resized, nor of what becomes of its features.
"""

import mlx.core as mx
import mlx.nn as nn

from engine.api.errors import CheckpointError
from engine.models.base import Config
from engine.models.layers.attention import attended
from engine.models.layers.gated_mlp import GatedMLP
from engine.models.layers.mrope import Waves, turned
from engine.models.towers.slices import Asked, LayerSizes, Pauses, Slices
from engine.models.towers.vit import PatchEmbedding, ViTConfig

EPS = 1e-5


def pixtral_shape(config: Config) -> ViTConfig:
    """Of a normalised `vision_config`. Raises `CheckpointError` for one that is not known here."""
    shape = ViTConfig.read({**config, "layer_norm_eps": EPS})
    if (head := shape.hidden_size // shape.num_attention_heads) % 2:
        raise CheckpointError(f"The vision_config makes heads of {head} channels, which cannot be turned.")
    return shape


class Attention(nn.Module):
    """Every patch looks at every other of its picture."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        width = config.hidden_size
        self._heads = config.num_attention_heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def projected(self, x: mx.array, waves: Waves) -> Asked:
        """(L, D) -> queries, keys and values."""
        queries, keys, values = (
            y.reshape(len(x), self._heads, -1) for y in (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        )
        return turned(queries, *waves), turned(keys, *waves), values

    def __call__(self, queries: mx.array, keys: mx.array, values: mx.array) -> mx.array:
        """(1, heads, n, d) -> (n, D)."""
        return self.o_proj(attended(queries, keys, values)[0].swapaxes(0, 1).flatten(1))


class Block(nn.Module):
    def __init__(self, config: ViTConfig):
        super().__init__()
        self.sizes = LayerSizes(config.hidden_size, config.intermediate_size, config.num_attention_heads)
        self.attention_norm = nn.RMSNorm(config.hidden_size, EPS)
        self.attention = Attention(config)
        self.ffn_norm = nn.RMSNorm(config.hidden_size, EPS)
        self.feed_forward = GatedMLP(
            config.hidden_size, config.intermediate_size, hidden_act=config.hidden_act, bias=False
        )

    def asked(self, x: mx.array, *waves: mx.array) -> Asked:
        return self.attention.projected(self.attention_norm(x), waves)

    def answered(
        self, x: mx.array, queries: mx.array, keys: mx.array, values: mx.array, mask: mx.array | None
    ) -> mx.array:
        x = x + self.attention(queries, keys, values)
        return x + self.feed_forward(self.ffn_norm(x))


class Transformer(nn.Module):
    def __init__(self, config: ViTConfig):
        super().__init__()
        self.layers = [Block(config) for _ in range(config.num_hidden_layers)]


class PixtralViT(nn.Module):
    """The tower. Its names are those of the checkpoints."""

    def __init__(self, config: Config):
        super().__init__()
        shape = pixtral_shape(config)
        head = shape.hidden_size // shape.num_attention_heads
        self._frequencies = config["rope_parameters"]["rope_theta"] ** (-mx.arange(0, head, 2) / head)
        self.patch_conv = PatchEmbedding(shape, bias=False)
        self.ln_pre = nn.RMSNorm(shape.hidden_size, EPS)
        self.transformer = Transformer(shape)

    def in_slices(self, pixels: mx.array, depth: int, slices: Slices) -> Pauses:
        """(1, C, H, W) -> what comes out of the layer number `depth`, counted from 1, or goes into the first: (rows,
        columns, D)."""
        patches = self.patch_conv(pixels)
        _, rows, columns, width = patches.shape
        x = self.ln_pre(patches.reshape(rows * columns, width))
        waves = self._waves(rows, columns)
        for layer in self.transformer.layers[:depth]:
            x = yield from slices.through(layer, x, waves)
        return x.reshape(rows, columns, width)

    def _waves(self, rows: int, columns: int) -> Waves:
        """(rows * columns, 1, channels of a head / 2) each: every other frequency runs down, those between across."""
        down = mx.arange(rows)[:, None, None] * self._frequencies[0::2]
        across = mx.arange(columns)[None, :, None] * self._frequencies[1::2]
        both = (mx.broadcast_to(angles, (rows, columns, angles.shape[-1])) for angles in (down, across))
        angles = mx.concatenate([*both], axis=-1).reshape(rows * columns, 1, -1)
        return mx.cos(angles), mx.sin(angles)


def sanitize_pixtral_vit(weights: dict[str, mx.array], prefix: str, channels: int = 3) -> dict[str, mx.array]:
    """The tower's weights under `prefix` in this module's layout: the patch kernel as (out, h, w, in)."""
    name = f"{prefix}patch_conv.weight"
    kernel = weights.get(name)
    if kernel is None or kernel.shape[-1] == channels:
        return weights
    return weights | {name: kernel.transpose(0, 2, 3, 1)}
