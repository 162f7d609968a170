"""Which tower a config asks for, and which of its hidden states the projector sees: LLaVA's way of saying it.

Knows nothing of projectors.
"""

from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx

from engine.api.errors import CheckpointError
from engine.models.base import Config
from engine.models.towers.clip import ClipTower
from engine.models.towers.siglip import SiglipTower
from engine.models.towers.vit import VisionTransformer, ViTConfig

CLIP = "clip_vision_model"
SIGLIP = "siglip_vision_model"

TILES_AT_ONCE = 4
"""Bounds the memory for attention scores where they are not fused: at 1024 patches and 12 heads, 50 MB a tile."""


def build_tower(config: Config) -> VisionTransformer:
    """The tower of a `vision_config`. Raises `CheckpointError` for one that is not known."""
    known = {CLIP: ClipTower, SIGLIP: SiglipTower}
    if config["model_type"] not in known:
        raise CheckpointError(
            f"This model looks through a tower of the type {config['model_type']!r}, which is not known here."
        )
    return known[config["model_type"]](ViTConfig.read(config))


@dataclass(frozen=True, slots=True)
class Features:
    """What a `config.json` says of them."""

    layers: tuple[int, ...]
    """Hidden states, side by side."""
    drops_first: bool
    """The class token, or whatever stands in its place."""
    width: int
    count: int
    """Of one picture or tile."""

    @classmethod
    def read(cls, config: Config) -> "Features":
        vision = ViTConfig.read(config["vision_config"])
        layers = config["vision_feature_layer"]
        layers = (layers,) if isinstance(layers, int) else tuple(layers)
        drops_first = config["vision_feature_select_strategy"] == "default"
        class_token = config["vision_config"]["model_type"] == CLIP
        return cls(layers, drops_first, vision.hidden_size * len(layers), vision.grid**2 + class_token - drops_first)

    def of(self, tower: VisionTransformer, pixels: mx.array) -> mx.array:
        """(N, C, H, W) -> (N, count, width)."""
        states = tower.hidden_states(pixels)
        seen = mx.concatenate([states[layer] for layer in self.layers], axis=-1)
        return seen[:, 1:] if self.drops_first else seen


def in_groups(look: Callable[[mx.array], mx.array], pixels: mx.array) -> mx.array:
    """`look` at a few of (N, C, H, W) at a time."""
    groups = []
    for first in range(0, len(pixels), TILES_AT_ONCE):
        groups.append(look(pixels[first : first + TILES_AT_ONCE]))
        mx.eval(groups[-1])
    return mx.concatenate(groups)
