"""The vision transformer that CLIP and SigLIP share (arXiv 2010.11929), pre-norm, with learned positions.

Knows nothing of what comes after it, nor of how pictures are cut.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from engine.api.errors import CheckpointError
from engine.models.layers.activations import activation
from engine.models.layers.attention import attended
from engine.models.towers.slices import Asked, LayerSizes


@dataclass(frozen=True, slots=True)
class ViTConfig:
    """Named as in a `vision_config`; sizes are those of one square picture or tile."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    image_size: int
    patch_size: int
    hidden_act: str
    layer_norm_eps: float
    num_channels: int = 3

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> "ViTConfig":
        """From a normalised `vision_config`. Raises `CheckpointError` for what is missing or not known here."""
        values = {}
        for entry in fields(cls):
            values[entry.name] = config.get(entry.name, entry.default)
            if values[entry.name] in (None, MISSING):
                raise CheckpointError(f"The vision_config lacks {entry.name}.")
        for name in ("image_size", "patch_size"):
            values[name] = _side(name, values[name])
        if values["hidden_size"] % values["num_attention_heads"]:
            raise CheckpointError(
                f"The vision_config splits {values['hidden_size']} channels into {values['num_attention_heads']} heads."
            )
        return cls(**values)

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size


def _side(name: str, value: int | list[int]) -> int:
    sides = {value} if isinstance(value, int) else set(value)
    if len(sides) != 1:
        raise CheckpointError(f"The vision_config's {name} is {value}: only squares are known here.")
    return sides.pop()


class PatchEmbedding(nn.Module):
    """A convolution whose stride is its kernel, which is one matrix product over patches."""

    def __init__(self, config: ViTConfig, bias: bool):
        super().__init__()
        side = config.patch_size
        self.weight = mx.zeros((config.hidden_size, side, side, config.num_channels))
        if bias:
            self.bias = mx.zeros((config.hidden_size,))

    def __call__(self, pixels: mx.array) -> mx.array:
        """(N, C, H, W) -> (N, H / side, W / side, D); what is left over at the right and below is not looked at."""
        side = self.weight.shape[1]
        count, channels, height, width = pixels.shape
        rows, columns = height // side, width // side
        pixels = pixels[:, :, : rows * side, : columns * side].astype(self.weight.dtype)
        patches = pixels.reshape(count, channels, rows, side, columns, side).transpose(0, 2, 4, 3, 5, 1)
        embedded = patches.reshape(count, rows, columns, -1) @ self.weight.reshape(self.weight.shape[0], -1).T
        return embedded + self.bias if "bias" in self else embedded


class Embeddings(nn.Module):
    """Patches with their positions, after a class token where there is one."""

    def __init__(self, config: ViTConfig, class_token: bool, patch_bias: bool):
        super().__init__()
        self._grid = config.grid
        self.patch_embedding = PatchEmbedding(config, patch_bias)
        self.position_embedding = nn.Embedding(config.grid**2 + class_token, config.hidden_size)
        if class_token:
            self.class_embedding = mx.zeros((config.hidden_size,))

    def __call__(self, pixels: mx.array) -> mx.array:
        """(N, C, H, W) -> (N, L, D). A grid of another size takes the positions at the same fractions of a side
        (arXiv 2307.06304)."""
        patches = self.patch_embedding(pixels)
        count, rows, columns, width = patches.shape
        patches = patches.reshape(count, rows * columns, width)
        down, across = (mx.array(self._positions_along(side)) for side in (rows, columns))
        places = (down[:, None] * self._grid + across).reshape(-1)
        if "class_embedding" not in self:
            return patches + self.position_embedding(places)
        first = mx.broadcast_to(self.class_embedding, (count, 1, width))
        places = mx.concatenate([mx.array([0]), places + 1])
        return mx.concatenate([first, patches], axis=1) + self.position_embedding(places)

    def _positions_along(self, count: int) -> np.ndarray:
        return positions_along(count, self._grid)


class NearestEmbeddings(Embeddings):
    """The same, with fractions that nobody has rounded."""

    def _positions_along(self, count: int) -> np.ndarray:
        return np.arange(count) * self._grid // count


def positions_along(count: int, learned: int) -> np.ndarray:
    """(count,): which of the `learned` positions of a side each of `count` patches has. In float32 as in the reference
    (`modeling_idefics2.py`), whose rounding decides where a patch begins just where a position does."""
    fractions = np.arange(count, dtype=np.float32) * (np.float32(1) / np.float32(count))
    return np.searchsorted((np.arange(1, learned) / learned).astype(np.float32), fractions, side="right")


class Attention(nn.Module):
    """Every patch looks at every other of its tile."""

    def __init__(self, config: ViTConfig, *, bias: bool = True):
        """`bias`: whether queries, keys and values have one."""
        super().__init__()
        width = config.hidden_size
        self._heads = config.num_attention_heads
        self._scale = (width // self._heads) ** -0.5
        self.q_proj = nn.Linear(width, width, bias=bias)
        self.k_proj = nn.Linear(width, width, bias=bias)
        self.v_proj = nn.Linear(width, width, bias=bias)
        self.out_proj = nn.Linear(width, width)

    def projected(self, x: mx.array) -> tuple[mx.array, mx.array, mx.array]:
        """Queries, keys and values, (N, L, D) each."""
        return self.q_proj(x), self.k_proj(x), self.v_proj(x)

    def __call__(self, x: mx.array, mask: mx.array | None = None) -> mx.array:
        """(N, L, D) -> the same; `mask` (N, 1, 1, L) says which patches are looked at."""
        queries, keys, values = (y.swapaxes(1, 2) for y in self.asked(x))
        return self.answered(queries, keys, values, mask)

    def asked(self, x: mx.array) -> Asked:
        """Queries, keys and values, (..., heads, d) each."""
        queries, keys, values = (y.reshape(*y.shape[:-1], self._heads, -1) for y in self.projected(x))
        return queries, keys, values

    def answered(self, queries: mx.array, keys: mx.array, values: mx.array, mask: mx.array | None) -> mx.array:
        """(N, heads, L, d) -> (N, L, D)."""
        return self.out_proj(attended(queries, keys, values, mask, scale=self._scale).swapaxes(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, config: ViTConfig):
        super().__init__()
        self._activation = activation(config.hidden_act)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def __call__(self, x: mx.array) -> mx.array:
        return self.fc2(self._activation(self.fc1(x)))


class EncoderLayer(nn.Module):
    def __init__(self, config: ViTConfig):
        super().__init__()
        self.sizes = LayerSizes(config.hidden_size, config.intermediate_size, config.num_attention_heads)
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.self_attn = Attention(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.mlp = MLP(config)

    def __call__(self, x: mx.array, mask: mx.array | None = None) -> mx.array:
        x = x + self.self_attn(self.layer_norm1(x), mask)
        return x + self.mlp(self.layer_norm2(x))

    def asked(self, x: mx.array) -> Asked:
        return self.self_attn.asked(self.layer_norm1(x))

    def answered(
        self, x: mx.array, queries: mx.array, keys: mx.array, values: mx.array, mask: mx.array | None
    ) -> mx.array:
        x = x + self.self_attn.answered(queries, keys, values, mask).flatten(0, 1)
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    def __init__(self, config: ViTConfig, layer: Callable[[ViTConfig], nn.Module] = EncoderLayer):
        super().__init__()
        self.layers = [layer(config) for _ in range(config.num_hidden_layers)]


class VisionTransformer(nn.Module):
    """The tower. Its names are those of the checkpoints, the misspelt one included."""

    def __init__(
        self,
        config: ViTConfig,
        *,
        class_token: bool,
        patch_bias: bool,
        pre_norm: bool,
        post_norm: bool = True,
        layer: Callable[[ViTConfig], nn.Module] = EncoderLayer,
    ):
        super().__init__()
        self.embeddings = Embeddings(config, class_token, patch_bias)
        if pre_norm:
            self.pre_layrnorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.encoder = Encoder(config, layer)
        if post_norm:
            self.post_layernorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def hidden_states(self, pixels: mx.array) -> list[mx.array]:
        """(N, C, H, W) -> what goes into the first layer, then what comes out of each: (N, L, D) every one, before the
        last norm. MLX is lazy: a state nobody uses costs nothing."""
        x = self.embeddings(pixels)
        if "pre_layrnorm" in self:
            x = self.pre_layrnorm(x)
        states = [x]
        for layer in self.encoder.layers:
            states.append(layer(states[-1]))
        return states

    def __call__(self, pixels: mx.array) -> mx.array:
        """(N, C, H, W) -> (N, L, D)."""
        last = self.hidden_states(pixels)[-1]
        return self.post_layernorm(last) if "post_layernorm" in self else last


def sanitize_tower(weights: dict[str, mx.array], prefix: str, channels: int = 3) -> dict[str, mx.array]:
    """The tower's weights under `prefix` in this module's layout: the patch kernel as (out, h, w, in).

    Dropped are the position numbers that old checkpoints store, and SigLIP's pooling head, which no decoder uses.
    """
    kept = {}
    for name, tensor in weights.items():
        if name.startswith((f"{prefix}embeddings.position_ids", f"{prefix}head.")):
            continue
        if name == f"{prefix}embeddings.patch_embedding.weight" and tensor.shape[-1] != channels:
            tensor = tensor.transpose(0, 2, 3, 1)
        kept[name] = tensor
    return kept
