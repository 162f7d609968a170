"""Gemma 4's vision transformer: patches of a picture of any shape, which know and are turned by their column and row.

Knows nothing of how pictures are cut. Neighbouring patches are averaged at the end. Source: transformers
`modeling_gemma4.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import sqrt
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from engine.api.errors import CheckpointError
from engine.models.layers.activations import activation
from engine.models.layers.attention import attended
from engine.models.layers.mrope import Waves, turned
from engine.models.recipes.pictures import Pair

BOUNDS = ("input_min", "input_max", "output_min", "output_max")


@dataclass(frozen=True, slots=True)
class Gemma4ViTConfig:
    """Named as in a `vision_config`."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    hidden_activation: str
    rms_norm_eps: float
    patch_size: int
    pooling_kernel_size: int
    position_embedding_size: int
    """Columns, and rows, that there are positions for."""
    use_clipped_linears: bool
    standardize: bool
    rope_theta: float

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> "Gemma4ViTConfig":
        """From a normalised `vision_config`. Raises `CheckpointError` for what is not known here."""
        if config["rope_parameters"]["rope_type"] != "axial" or config["head_dim"] % 4:
            raise CheckpointError(
                f"The vision_config turns heads of {config['head_dim']} channels by {config['rope_parameters']}, "
                "which is not known here."
            )
        return cls(**{entry.name: config[entry.name] for entry in fields(cls)})


class BoundedLinear(nn.Module):
    """A linear layer without bias, whose input and output are kept within bounds where a checkpoint has them."""

    def __init__(self, in_size: int, out_size: int, bounded: bool):
        super().__init__()
        self.linear = nn.Linear(in_size, out_size, bias=False)
        if bounded:
            self.input_min = self.output_min = mx.array(-mx.inf)
            self.input_max = self.output_max = mx.array(mx.inf)

    def __call__(self, x: mx.array) -> mx.array:
        if "input_min" not in self:
            return self.linear(x)
        y = self.linear(mx.clip(x, self.input_min, self.input_max))
        return mx.clip(y, self.output_min, self.output_max)


class Attention(nn.Module):
    """Every patch looks at every other of its frame; queries and keys are normalised, so that scores need no scale."""

    def __init__(self, config: Gemma4ViTConfig):
        super().__init__()
        self._head_dim, self._eps = config.head_dim, config.rms_norm_eps
        width, bounded = config.hidden_size, config.use_clipped_linears
        queries, keys = (n * config.head_dim for n in (config.num_attention_heads, config.num_key_value_heads))
        self.q_proj = BoundedLinear(width, queries, bounded)
        self.k_proj = BoundedLinear(width, keys, bounded)
        self.v_proj = BoundedLinear(width, keys, bounded)
        self.o_proj = BoundedLinear(queries, width, bounded)
        self.q_norm = nn.RMSNorm(config.head_dim, config.rms_norm_eps)
        self.k_norm = nn.RMSNorm(config.head_dim, config.rms_norm_eps)

    def __call__(self, x: mx.array, waves: Waves) -> mx.array:
        """(T, N, D) -> the same."""
        queries, keys, values = (
            y.reshape(*y.shape[:2], -1, self._head_dim) for y in (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        )
        heads = (
            _turned_by_place(self.q_norm(queries), waves),
            _turned_by_place(self.k_norm(keys), waves),
            mx.fast.rms_norm(values, None, self._eps),
        )
        mixed = attended(*(y.swapaxes(1, 2) for y in heads), scale=1.0).swapaxes(1, 2)
        return self.o_proj(mixed.reshape(*x.shape[:2], -1))


def _turned_by_place(x: mx.array, waves: Waves) -> mx.array:
    """(T, N, heads, d): the first half of the channels by the column, the second by the row."""
    return turned(x.reshape(*x.shape[:-1], 2, -1), *waves).reshape(x.shape)


class BoundedMLP(nn.Module):
    def __init__(self, config: Gemma4ViTConfig):
        super().__init__()
        width, inner, bounded = config.hidden_size, config.intermediate_size, config.use_clipped_linears
        self._activation = activation(config.hidden_activation)
        self.gate_proj = BoundedLinear(width, inner, bounded)
        self.up_proj = BoundedLinear(width, inner, bounded)
        self.down_proj = BoundedLinear(inner, width, bounded)

    def __call__(self, x: mx.array) -> mx.array:
        return self.down_proj(self._activation(self.gate_proj(x)) * self.up_proj(x))


class EncoderLayer(nn.Module):
    """A norm before and behind each half."""

    def __init__(self, config: Gemma4ViTConfig):
        super().__init__()
        width, eps = config.hidden_size, config.rms_norm_eps
        self.input_layernorm = nn.RMSNorm(width, eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(width, eps)
        self.pre_feedforward_layernorm = nn.RMSNorm(width, eps)
        self.mlp = BoundedMLP(config)
        self.post_feedforward_layernorm = nn.RMSNorm(width, eps)

    def __call__(self, x: mx.array, waves: Waves) -> mx.array:
        x = x + self.post_attention_layernorm(self.self_attn(self.input_layernorm(x), waves))
        return x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))


class Encoder(nn.Module):
    def __init__(self, config: Gemma4ViTConfig):
        super().__init__()
        self.layers = [EncoderLayer(config) for _ in range(config.num_hidden_layers)]


class PatchEmbedder(nn.Module):
    def __init__(self, config: Gemma4ViTConfig):
        super().__init__()
        self.input_proj = nn.Linear(3 * config.patch_size**2, config.hidden_size, bias=False)
        self.position_embedding_table = mx.ones((2, config.position_embedding_size, config.hidden_size))

    def __call__(self, patches: mx.array, places: mx.array) -> mx.array:
        """`patches` (T, N, values) of 0 to 1 and `places` (N, 2), columns and rows -> (T, N, D)."""
        columns, rows = self.position_embedding_table
        centred = (2 * (patches - 0.5)).astype(self.input_proj.weight.dtype)
        return self.input_proj(centred) + columns[places[:, 0]] + rows[places[:, 1]]


class Gemma4ViT(nn.Module):
    def __init__(self, config: Gemma4ViTConfig):
        super().__init__()
        self._config = config
        self.patch_embedder = PatchEmbedder(config)
        self.encoder = Encoder(config)
        if config.standardize:
            self.std_bias = mx.zeros((config.hidden_size,))
            self.std_scale = mx.ones((config.hidden_size,))

    def __call__(self, patches: mx.array, grid: Pair) -> mx.array:
        """`patches` (T, N, values) of frames that have `grid` rows and columns of them -> (T, features, D)."""
        rows, columns = (mx.array(axis.reshape(-1)) for axis in np.indices(grid))
        places = mx.stack([columns, rows], axis=-1)
        x, waves = self.patch_embedder(patches, places), self._waves(places)
        for layer in self.encoder.layers:
            x = layer(x, waves)
        return self._averaged(x, grid)

    def _waves(self, places: mx.array) -> Waves:
        """(N, 1, 2, d / 4) each."""
        half = self._config.head_dim // 2
        angles = places[:, None, :, None] * self._config.rope_theta ** (-mx.arange(0, half, 2) / half)
        return mx.cos(angles), mx.sin(angles)

    def _averaged(self, x: mx.array, grid: Pair) -> mx.array:
        """(T, N, D) -> (T, N / pool^2, D), in float32 as the factor takes them beyond what float16 can hold."""
        pool, width = self._config.pooling_kernel_size, self._config.hidden_size
        squares = x.astype(mx.float32).reshape(len(x), grid[0] // pool, pool, grid[1] // pool, pool, width)
        features = squares.mean(axis=(2, 4)).reshape(len(x), -1, width) * sqrt(width)
        if "std_bias" in self:
            features = (features - self.std_bias) * self.std_scale
        return features.astype(x.dtype)


def sanitize_gemma4_vit(weights: dict[str, mx.array], prefix: str, config: Gemma4ViTConfig) -> dict[str, mx.array]:
    """Dropped are the bounds of layers that the config does not call bounded, as in the reference."""
    if config.use_clipped_linears:
        return weights
    return {name: w for name, w in weights.items() if not (name.startswith(prefix) and name.endswith(BOUNDS))}
