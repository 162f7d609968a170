"""Which tower a config asks for, and which of its hidden states the projector sees: LLaVA's way of saying it.

Knows nothing of projectors.
"""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from itertools import pairwise

import mlx.core as mx
import numpy as np

from engine.api.errors import CheckpointError
from engine.models.base import Config
from engine.models.recipes.pictures import Pair
from engine.models.towers.clip import ClipTower
from engine.models.towers.siglip import SiglipTower
from engine.models.towers.vit import VisionTransformer, ViTConfig

CLIP = "clip_vision_model"
SIGLIP = "siglip_vision_model"


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


def tile_by_tile(look: Callable[[mx.array], mx.array], pixels: mx.array) -> Generator[None, None, mx.array]:
    """`look` at (N, C, H, W) one after the other, with a pause after each; returns what was seen, side by side."""
    seen = []
    for number in range(len(pixels)):
        seen.append(look(pixels[number : number + 1]))
        mx.eval(seen[-1])
        yield
    return mx.concatenate(seen)


def shape_by_shape(
    look: Callable[[mx.array, Pair], mx.array], patches: mx.array, shapes: np.ndarray
) -> Generator[None, None, mx.array]:
    """The same for patches (N, values) of pictures that have `shapes` (pictures, 2) of rows and columns."""
    seen = []
    for (start, stop), shape in zip(pairwise([0, *shapes.prod(axis=1).cumsum()]), shapes.tolist(), strict=True):
        seen.append(look(patches[start:stop], tuple(shape)))
        mx.eval(seen[-1])
        yield
    return mx.concatenate(seen)


def last(pieces: Iterable[mx.array | None]) -> mx.array:
    """All of `encode_in_pieces` at once."""
    *_, features = pieces
    return features
