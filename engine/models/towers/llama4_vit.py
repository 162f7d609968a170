"""Llama 4's vision transformer: square tiles, patches turned by row and column, made fewer at the end.

Knows nothing of how pictures are cut. Source: transformers `modeling_llama4.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from engine.api.errors import CheckpointError
from engine.models.layers.attention import attended
from engine.models.layers.mrope import Waves, neighbours_turned
from engine.models.projectors.pixel_shuffle import side_by_side
from engine.models.towers.vit import MLP


@dataclass(frozen=True, slots=True)
class Llama4ViTConfig:
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_channels: int
    image_size: int
    patch_size: int
    rope_theta: float
    factor: int
    """Patches along a side of what becomes one feature."""
    projector_input_dim: int
    projector_output_dim: int
    hidden_act: str = "gelu"
    """The reference looks at no other, whatever a file says."""

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> "Llama4ViTConfig":
        """From a normalised `vision_config`. Raises `CheckpointError` for what is not known here."""
        factor = round(1 / config["pixel_shuffle_ratio"])
        names = [name for name in cls.__slots__ if name not in ("factor", "hidden_act")]
        found = cls(factor=factor, **{name: config[name] for name in names})
        if not isinstance(found.image_size, int) or not isinstance(found.patch_size, int):
            raise CheckpointError("The vision_config's tiles or patches are not square, which is not known here.")
        if factor * config["pixel_shuffle_ratio"] != 1 or found.grid % factor:
            raise CheckpointError(f"{found.grid} patches a side cannot be put together by {factor} x {factor}.")
        if found.hidden_size % (4 * found.num_attention_heads):
            raise CheckpointError("The vision_config's heads have channels that cannot be turned on two axes.")
        return found

    @property
    def grid(self) -> int:
        """Patches along a side of a tile."""
        return self.image_size // self.patch_size

    @property
    def features(self) -> int:
        """Of a tile."""
        return (self.grid // self.factor) ** 2


class Unfold(nn.Module):
    """Patches with their channels one after the other."""

    def __init__(self, config: Llama4ViTConfig) -> None:
        super().__init__()
        self._side = config.patch_size
        self.linear = nn.Linear(config.num_channels * config.patch_size**2, config.hidden_size, bias=False)

    def __call__(self, pixels: mx.array) -> mx.array:
        """(N, C, H, W) -> (N, patches, D)."""
        count, channels, height, width = pixels.shape
        side = self._side
        cut = pixels.reshape(count, channels, height // side, side, width // side, side).transpose(0, 2, 4, 1, 3, 5)
        return self.linear(cut.reshape(count, -1, channels * side**2).astype(self.linear.weight.dtype))


class Attention(nn.Module):
    def __init__(self, config: Llama4ViTConfig) -> None:
        super().__init__()
        self._heads = config.num_attention_heads
        width = config.hidden_size
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.o_proj = nn.Linear(width, width)

    def __call__(self, x: mx.array, waves: Waves) -> mx.array:
        """(N, L, D) -> the same."""
        queries, keys, values = (
            y.reshape(*y.shape[:2], self._heads, -1) for y in (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        )
        heads = (neighbours_turned(queries, *waves), neighbours_turned(keys, *waves), values)
        return self.o_proj(attended(*(y.swapaxes(1, 2) for y in heads)).swapaxes(1, 2).flatten(2))


class EncoderLayer(nn.Module):
    def __init__(self, config: Llama4ViTConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = MLP(config)
        self.input_layernorm = nn.LayerNorm(config.hidden_size)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size)

    def __call__(self, x: mx.array, waves: Waves) -> mx.array:
        x = x + self.self_attn(self.input_layernorm(x), waves)
        return x + self.mlp(self.post_attention_layernorm(x))


class Encoder(nn.Module):
    def __init__(self, config: Llama4ViTConfig) -> None:
        super().__init__()
        self.layers = [EncoderLayer(config) for _ in range(config.num_hidden_layers)]


class AdapterMLP(nn.Module):
    def __init__(self, config: Llama4ViTConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size * config.factor**2, config.projector_input_dim, bias=False)
        self.fc2 = nn.Linear(config.projector_input_dim, config.projector_output_dim, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        return nn.gelu(self.fc2(nn.gelu(self.fc1(x))))


class Adapter(nn.Module):
    def __init__(self, config: Llama4ViTConfig) -> None:
        super().__init__()
        self._factor = config.factor
        self.mlp = AdapterMLP(config)

    def __call__(self, x: mx.array) -> mx.array:
        """(N, rows, columns, D) -> (N, features, out)."""
        return self.mlp(side_by_side(x, self._factor)).flatten(1, 2)


class Llama4ViT(nn.Module):
    def __init__(self, config: Llama4ViTConfig) -> None:
        super().__init__()
        self._config = config
        self.patch_embedding = Unfold(config)
        self.class_embedding = mx.zeros((config.hidden_size,))
        self.positional_embedding_vlm = mx.zeros((config.grid**2 + 1, config.hidden_size))
        self.layernorm_pre = nn.LayerNorm(config.hidden_size)
        self.layernorm_post = nn.LayerNorm(config.hidden_size)
        self.model = Encoder(config)
        self.vision_adapter = Adapter(config)

    def __call__(self, pixels: mx.array) -> mx.array:
        """(N, C, side, side) -> (N, features, out)."""
        grid, width = self._config.grid, self._config.hidden_size
        last = mx.broadcast_to(self.class_embedding, (len(pixels), 1, width))
        x = mx.concatenate([self.patch_embedding(pixels), last], axis=1) + self.positional_embedding_vlm
        x, waves = self.layernorm_pre(x), self._waves()
        for layer in self.model.layers:
            x = layer(x, waves)
        return self.vision_adapter(self.layernorm_post(x)[:, :-1].reshape(-1, grid, grid, width))

    def _waves(self) -> Waves:
        """(patches + 1, 1, d / 2) each: by the column, then by the row, both counted from 1; the class token behind the
        patches is not turned."""
        config = self._config
        axis = config.hidden_size // config.num_attention_heads // 2
        frequencies = config.rope_theta ** (-np.arange(0, axis, 2) / axis)
        rows, columns = np.indices((config.grid, config.grid)).reshape(2, -1, 1) + 1
        angles = np.concatenate([columns * frequencies, rows * frequencies], axis=-1)
        angles = mx.array(np.pad(angles, ((0, 1), (0, 0))).astype(np.float32))[:, None]
        return mx.cos(angles), mx.sin(angles)
