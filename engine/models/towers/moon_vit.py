"""MoonViT (arXiv 2504.07491, 2602.02276): patches of a picture, or of a few frames, of any shape, rotated by place.

Knows nothing of how they are resized. Learned positions are stretched to the shape; frames looked at together also have
their number, see each other, and become their mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from engine.api.errors import CheckpointError
from engine.models.layers.activations import activation
from engine.models.layers.attention import attended
from engine.models.layers.bicubic import resized
from engine.models.layers.mrope import Waves, turned
from engine.models.positions import Grid
from engine.models.towers.slices import Asked, LayerSizes, Pauses, Slices

EPS = 1e-5
TIME_BASE = 10000.0
"""Of the waves that tell frames apart."""


@dataclass(frozen=True, slots=True)
class MoonViTConfig:
    depth: int
    hidden_size: int
    intermediate_size: int
    heads: int
    hidden_act: str
    patch: int
    side: int
    """Of the square of learned positions."""
    frames: int
    """How many there may be at once."""
    merge: int
    """Patches along a side of what becomes one feature."""
    rope_theta: float

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> "MoonViTConfig":
        """Of a normalised `vision_config`, in the words of transformers or of its authors. Raises `CheckpointError` for
        what is not known."""
        said = {**config, **{name.removeprefix("vt_"): config[name] for name in config if name.startswith("vt_")}}
        said |= {name.removeprefix("init_"): config[name] for name in config if name.startswith("init_pos_emb_")}
        merges, sides = set(said["merge_kernel_size"]), {said["pos_emb_height"], said["pos_emb_width"]}
        if len(merges) != 1 or len(sides) != 1:
            raise CheckpointError(
                "The vision_config's pos_emb_* or merge_kernel_size is no square, which is not known."
            )
        if said["hidden_size"] % (4 * said["num_attention_heads"]):
            raise CheckpointError(
                f"The vision_config splits {said['hidden_size']} channels into {said['num_attention_heads']} heads, "
                "which cannot be turned."
            )
        return cls(
            depth=said["num_hidden_layers"],
            hidden_size=said["hidden_size"],
            intermediate_size=said["intermediate_size"],
            heads=said["num_attention_heads"],
            hidden_act=said["hidden_act"],
            patch=said["patch_size"],
            side=sides.pop(),
            frames=said["pos_emb_time"],
            merge=merges.pop(),
            rope_theta=said["rope_parameters"]["rope_theta"],
        )


class Attention(nn.Module):
    """Every patch looks at every other of its picture, or of its frames."""

    def __init__(self, config: MoonViTConfig):
        super().__init__()
        width = config.hidden_size
        self._heads = config.heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def projected(self, x: mx.array, waves: Waves) -> Asked:
        """(N, D) -> queries, keys and values."""
        queries, keys, values = (
            y.reshape(len(x), self._heads, -1) for y in (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        )
        return turned(queries, *waves), turned(keys, *waves), values

    def __call__(self, queries: mx.array, keys: mx.array, values: mx.array) -> mx.array:
        """(1, heads, n, d) -> (n, D)."""
        return self.proj(attended(queries, keys, values)[0].swapaxes(0, 1).flatten(1))


class MLP(nn.Module):
    def __init__(self, config: MoonViTConfig):
        super().__init__()
        self._activation = activation(config.hidden_act)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def __call__(self, x: mx.array) -> mx.array:
        return self.fc2(self._activation(self.fc1(x)))


class Layer(nn.Module):
    def __init__(self, config: MoonViTConfig):
        super().__init__()
        self.sizes = LayerSizes(config.hidden_size, config.intermediate_size, config.heads)
        self.norm1 = nn.LayerNorm(config.hidden_size, EPS)
        self.attn = Attention(config)
        self.norm2 = nn.LayerNorm(config.hidden_size, EPS)
        self.mlp = MLP(config)

    def asked(self, x: mx.array, *waves: mx.array) -> Asked:
        return self.attn.projected(self.norm1(x), waves)

    def answered(
        self, x: mx.array, queries: mx.array, keys: mx.array, values: mx.array, mask: mx.array | None
    ) -> mx.array:
        x = x + self.attn(queries, keys, values)
        return x + self.mlp(self.norm2(x))


class MoonViT(nn.Module):
    def __init__(self, config: MoonViTConfig):
        super().__init__()
        self.config = config
        # A convolution whose stride is its kernel: one matrix product.
        self.patch_embedding = nn.Linear(3 * config.patch**2, config.hidden_size)
        self.positions = mx.zeros((config.side, config.side, config.hidden_size))
        self.layers = [Layer(config) for _ in range(config.depth)]
        self.final_layernorm = nn.LayerNorm(config.hidden_size, EPS)

    def in_slices(self, patches: mx.array, grid: Grid, slices: Slices) -> Pauses:
        """(frames * rows * columns, 3 * patch^2), row by row, and how many of them in time, height and width
        -> (rows / merge * columns / merge, merge^2, D)."""
        frames, rows, columns = grid
        x = self.patch_embedding(patches.astype(self.final_layernorm.weight.dtype)).reshape(frames, rows * columns, -1)
        places = resized(self.positions, rows, columns).reshape(1, rows * columns, -1)
        x = (x + (places + self._moments(frames)).astype(x.dtype)).reshape(len(patches), -1)
        waves = self._waves(grid)
        for layer in self.layers:
            x = yield from slices.through(layer, x, waves)
        merge = self.config.merge
        blocks = self.final_layernorm(x).reshape(frames, rows // merge, merge, columns // merge, merge, -1)
        return blocks.swapaxes(2, 3).mean(axis=0).reshape(rows * columns // merge**2, merge**2, -1)

    def _moments(self, frames: int) -> mx.array:
        """(frames, 1, D); nothing for a picture, nor for a clip's last frame where it is alone."""
        if frames == 1:
            return mx.zeros((1, 1, self.config.hidden_size))
        width = self.config.hidden_size
        angles = mx.arange(frames)[:, None] * TIME_BASE ** (-mx.arange(0, width, 2) / width)
        return mx.concatenate([mx.sin(angles), mx.cos(angles)], axis=-1)[:, None]

    def _waves(self, grid: Grid) -> Waves:
        """(N, 1, channels of a head / 2) each: by column and by row in turns."""
        frames, rows, columns = grid
        half = self.config.hidden_size // self.config.heads // 2
        frequencies = self.config.rope_theta ** (-mx.arange(0, half, 2) / half)
        places = np.tile(np.indices((rows, columns))[::-1].reshape(2, -1).T, (frames, 1))
        angles = (mx.array(places)[:, None] * frequencies[:, None]).reshape(len(places), 1, half)
        return mx.cos(angles), mx.sin(angles)
