"""The vision transformer of Llama 3.2 (arXiv 2407.21783): all tiles of a picture at once, then all of them once more.

Knows nothing of how pictures are cut. A feature is a patch as it leaves the second stack, beside what it was behind
some layers of the first. Source: transformers `modeling_mllama.py`.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from engine.api.errors import CheckpointError
from engine.models.layers.attention import attended
from engine.models.recipes.canvas_tiles import grids
from engine.models.recipes.pictures import Pair
from engine.models.towers.vit import MLP, PatchEmbedding

MULTIPLE = 8
"""A tile's patches are filled up to a multiple of it, with ones that the others look at."""


@dataclass(frozen=True, slots=True)
class MllamaViTConfig:
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_global_layers: int
    attention_heads: int
    image_size: int
    patch_size: int
    num_channels: int
    hidden_act: str
    norm_eps: float
    max_num_tiles: int
    intermediate_layers_indices: tuple[int, ...]

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> "MllamaViTConfig":
        """From a normalised `vision_config`. Raises `CheckpointError` for what is not known here."""
        values = {name: config[name] for name in cls.__slots__}
        values["intermediate_layers_indices"] = tuple(config["intermediate_layers_indices"])
        found = cls(**values)
        if not isinstance(found.image_size, int) or not isinstance(found.patch_size, int):
            raise CheckpointError("The vision_config's tiles or patches are not square, which is not known here.")
        if [list(grid) for grid in grids(found.max_num_tiles)] != [list(g) for g in config["supported_aspect_ratios"]]:
            raise CheckpointError(f"The vision_config's {found.max_num_tiles} tiles are numbered in a way of its own.")
        if found.width != config["vision_output_dim"]:
            raise CheckpointError(f"The vision_config gives features of {found.width} channels another width.")
        return found

    @property
    def patches(self) -> int:
        """Of a tile, the class token among them."""
        return (self.image_size // self.patch_size) ** 2 + 1

    @property
    def width(self) -> int:
        """Of a feature."""
        return self.hidden_size * (1 + len(self.intermediate_layers_indices))


class Attention(nn.Module):
    def __init__(self, config: MllamaViTConfig) -> None:
        super().__init__()
        self._heads = config.attention_heads
        width = config.hidden_size
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def __call__(self, x: mx.array, real: int) -> mx.array:
        """(1, N, D): the first `real` ones look at all, what fills up behind them looks at those only."""
        queries, keys, values = (
            y.reshape(*y.shape[:2], self._heads, -1).swapaxes(1, 2)
            for y in (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        )
        mixed = [
            attended(queries[:, :, :real], keys, values),
            attended(queries[:, :, real:], keys[:, :, :real], values[:, :, :real]),
        ]
        return self.o_proj(mx.concatenate(mixed, axis=2).swapaxes(1, 2).flatten(2))


class EncoderLayer(nn.Module):
    def __init__(self, config: MllamaViTConfig, gated: bool) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = MLP(config)
        self.input_layernorm = nn.LayerNorm(config.hidden_size, config.norm_eps)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size, config.norm_eps)
        if gated:
            self.gate_attn = mx.zeros((1,))
            self.gate_ffn = mx.zeros((1,))

    def __call__(self, x: mx.array, real: int) -> mx.array:
        mixed = self.self_attn(self.input_layernorm(x), real)
        x = x + (mx.tanh(self.gate_attn) * mixed if "gate_attn" in self else mixed)
        changed = self.mlp(self.post_attention_layernorm(x))
        return x + (mx.tanh(self.gate_ffn) * changed if "gate_ffn" in self else changed)


class Stack(nn.Module):
    def __init__(self, config: MllamaViTConfig, depth: int, gated: bool) -> None:
        super().__init__()
        self.layers = [EncoderLayer(config, gated) for _ in range(depth)]


class TileEmbedding(nn.Module):
    """One for each tile of each grid; number 0 stands for no picture."""

    def __init__(self, config: MllamaViTConfig) -> None:
        super().__init__()
        self._tiles = config.max_num_tiles
        self.embedding = nn.Embedding(len(grids(config.max_num_tiles)) + 1, self._tiles * config.hidden_size)
        self.gate = mx.zeros((1,))

    def __call__(self, number: int) -> mx.array:
        """(tiles, 1, D)."""
        return mx.tanh(self.gate) * self.embedding(mx.array(number)).reshape(self._tiles, 1, -1)


class PositionEmbedding(nn.Module):
    """One for each patch, and one for each patch of each tile of each grid."""

    def __init__(self, config: MllamaViTConfig) -> None:
        super().__init__()
        self._shape = (config.max_num_tiles, config.patches, config.hidden_size)
        self.gate = mx.zeros((1,))
        self.embedding = mx.zeros((config.patches, config.hidden_size))
        self.tile_embedding = nn.Embedding(len(grids(config.max_num_tiles)) + 1, int(np.prod(self._shape)))

    def __call__(self, number: int) -> mx.array:
        """(tiles, patches, D)."""
        gate = mx.tanh(self.gate)
        return (1 - gate) * self.embedding + gate * self.tile_embedding(mx.array(number)).reshape(self._shape)


class MllamaViT(nn.Module):
    def __init__(self, config: MllamaViTConfig) -> None:
        super().__init__()
        self._config = config
        self.patch_embedding = PatchEmbedding(config, bias=False)
        self.class_embedding = mx.zeros((config.hidden_size,))
        self.gated_positional_embedding = PositionEmbedding(config)
        self.pre_tile_positional_embedding = TileEmbedding(config)
        self.post_tile_positional_embedding = TileEmbedding(config)
        self.layernorm_pre = nn.LayerNorm(config.hidden_size)
        self.layernorm_post = nn.LayerNorm(config.hidden_size)
        self.transformer = Stack(config, config.num_hidden_layers, gated=False)
        self.global_transformer = Stack(config, config.num_global_layers, gated=True)

    def in_pieces(self, pixels: mx.array, grid: Pair) -> Generator[None, None, mx.array]:
        """(tiles, 3, side, side) of a picture, of which those of its `grid` are real -> (tiles, patches, width). Pauses
        after each layer."""
        config, number = self._config, grids(self._config.max_num_tiles).index(grid) + 1
        tiles, missing = len(pixels), -config.patches % MULTIPLE
        real = np.zeros((tiles, config.patches + missing), bool)
        real[: grid[0] * grid[1], : config.patches] = True
        order = np.argsort(~real.reshape(-1), kind="stable")
        there, back = mx.array(order), mx.array(np.argsort(order))

        x = mx.pad(self._embedded(pixels, number), [(0, 0), (0, missing), (0, 0)])
        x = x.reshape(1, -1, config.hidden_size)[:, there]
        states = []
        for layer in self.transformer.layers:
            states.append(layer(states[-1] if states else x, int(real.sum())))
            mx.eval(states[-1])
            yield
        x = self.layernorm_post(states[-1])[:, back].reshape(*real.shape, -1)
        x = (x + self.post_tile_positional_embedding(number)).reshape(1, -1, config.hidden_size)[:, there]
        for layer in self.global_transformer.layers:
            x = layer(x, int(real.sum()))
            mx.eval(x)
            yield
        # Beside each other channel by channel, not layer by layer.
        beside = mx.stack([states[index] for index in config.intermediate_layers_indices], axis=-1).flatten(2)
        features = mx.concatenate([x, beside], axis=-1)[:, back]
        return features.reshape(*real.shape, -1)[:, : config.patches]

    def _embedded(self, pixels: mx.array, number: int) -> mx.array:
        """(tiles, 3, side, side) -> (tiles, patches, D), the class token first."""
        patches = self.patch_embedding(pixels).flatten(1, 2) + self.pre_tile_positional_embedding(number)
        first = mx.broadcast_to(self.class_embedding, (len(pixels), 1, self._config.hidden_size))
        x = mx.concatenate([first, patches], axis=1) + self.gated_positional_embedding(number)
        return self.layernorm_pre(x)


def sanitize_mllama_vit(weights: dict[str, mx.array], prefix: str, channels: int) -> dict[str, mx.array]:
    """The patch kernel under `prefix` as (out, h, w, in)."""
    name = f"{prefix}patch_embedding.weight"
    kernel = weights[name]
    return weights if kernel.shape[-1] == channels else weights | {name: kernel.transpose(0, 2, 3, 1)}
