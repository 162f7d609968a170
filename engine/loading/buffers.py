"""What a prompt takes on its way into the model and gives back behind it: pieces of text, and pictures in the tower.

Knows nothing of devices and caches. Told from the config's sizes and the shapes of what was made ready: rather too much
than too little, as if every number were float32.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.loading.config import text_config
from engine.models.base import PreparedMedia
from engine.models.joined.grid import PATCHES_AT_ONCE
from engine.models.layers.attention import SCORES_BYTES
from engine.models.towers.slices import LayerSizes

NUMBER = 4
"""Bytes."""

OF_A_VALUE = 64
"""Numbers held for each value of a picture in towers that do not cut it into patches, whose first maps are large."""

FUSED = (64, 80, 128)
"""Channels of a head for which MLX has a kernel on Metal (`scaled_dot_product_attention.cpp`)."""

USUAL_SIDE = 1024
"""Pixels of a picture for a tower that takes any size, where none is at hand."""


@dataclass(frozen=True, slots=True)
class TowerBuffers:
    layer: LayerSizes | None
    """The widest; `None` where the config does not speak of layers that look at patches."""
    patch: int
    """Pixels along a side."""
    usual_side: int
    """Pixels of the picture, or of the tile, that the tower was made for."""
    sliced_at: int
    """Bytes: see `VisionLanguageModel.tower_bytes`."""
    together: bool = False
    """Whether all tiles of a picture go through side by side."""

    @classmethod
    def read(cls, config: Mapping[str, Any], sliced_at: int, *, together: bool = False) -> "TowerBuffers | None":
        """`config` is normalised; `None` for a model without a tower."""
        vision = config.get("vision_config")
        if not isinstance(vision, Mapping):
            return None
        width, heads = first_of(vision, "hidden_size", "embed_dim", "vt_hidden_size", "width"), 0
        patch = first_of(vision, "patch_size")
        layer = None
        if patch and not isinstance(vision.get("embed_dim"), (list, tuple)) and width:
            inner = first_of(vision, "intermediate_size", "mlp_dim", "vt_intermediate_size") or 4 * width
            heads = first_of(vision, "num_attention_heads", "num_heads", "attention_heads", "vt_num_attention_heads")
            layer = LayerSizes(width, inner, heads or max(width // 64, 1))
        prepared = vision.get("preprocess")
        side = first_of(vision, "image_size") or first_of(prepared if isinstance(prepared, Mapping) else {}, "size")
        return cls(layer, patch, side or USUAL_SIDE, sliced_at, together)

    @property
    def usual(self) -> int:
        """Bytes for a picture of the usual size."""
        if self.layer is None:
            return 3 * self.usual_side**2 * NUMBER * OF_A_VALUE
        return min(self._through((self.usual_side // self.patch) ** 2), self.sliced_at)

    def looking(self, media: PreparedMedia) -> int:
        """Bytes for one picture or clip beside its features, a copy of it among them."""
        largest = max(media.arrays.values(), key=lambda array: array.size)
        copied = sum(array.size for array in media.arrays.values()) * NUMBER
        if self.layer is None or largest.dtype == np.uint8:
            tile = largest.size // len(largest) if largest.ndim == 4 else largest.size
            return copied + tile * NUMBER * OF_A_VALUE
        if largest.ndim == 4:
            tiles = len(largest) if self.together else 1
            return copied + self._through(tiles * (largest.shape[2] * largest.shape[3] // self.patch**2))
        if largest.ndim == 3:
            return copied + self._through(largest.shape[1])
        patches = _patches_together(media.arrays, len(largest))
        return copied + min(self._through(patches), self.sliced_at) + patches * self.layer.held_a_patch

    def _through(self, patches: int) -> int:
        # Scores and their softmax.
        scores = min(NUMBER * self.layer.heads * patches**2, SCORES_BYTES)
        return patches * self.layer.bytes_a_patch(0) + 2 * scores


@dataclass(frozen=True, slots=True)
class PromptBuffers:
    tower: TowerBuffers | None
    decoder: LayerSizes
    step: int
    """Tokens of a piece."""
    features_beside: int = 1
    """How many features of the decoder's width one slot takes."""
    fused: bool = False
    """Whether the decoder's attention never holds its scores."""

    def bytes(self, tokens: int, media: Sequence[PreparedMedia]) -> int:
        """For a prompt of so many tokens with these media, none of which was ever seen before."""
        piece = min(tokens, self.step) * self.decoder.bytes_a_patch(0 if self.fused else tokens)
        if not media:
            return piece
        width = self.decoder.width * self.features_beside * NUMBER
        features = sum(item.feature_count for item in media) * width
        looking = max(self.tower.looking(item) for item in media) if self.tower else 0
        # Features side by side, and once more among the text.
        return max(looking, piece, features) + features + tokens * width


def prompt_buffers(
    config: Mapping[str, Any], tower_bytes: int, step: int, *, together: bool, has_fused_attention: bool
) -> PromptBuffers:
    """Of a model with this normalised config. `has_fused_attention`: whether its device does without scores where heads
    have one of the `FUSED` widths."""
    decoder = decoder_sizes(config)
    head = first_of(text_config(config), "head_dim") or decoder.width // max(decoder.heads, 1)
    vision = config.get("vision_config")
    deeper = vision.get("deepstack_visual_indexes") if isinstance(vision, Mapping) else None
    return PromptBuffers(
        TowerBuffers.read(config, tower_bytes, together=together),
        decoder,
        step,
        features_beside=1 + len(deeper or ()),
        fused=has_fused_attention and head in FUSED,
    )


def decoder_sizes(config: Mapping[str, Any]) -> LayerSizes:
    """Of the decoder of a normalised config; with experts, of those that one token goes through."""
    decoder = text_config(config)
    width = first_of(decoder, "hidden_size", "n_embd", "d_model")
    inner = first_of(decoder, "intermediate_size", "n_inner", "decoder_ffn_dim", "ffn_dim") or 4 * width
    experts = first_of(decoder, "num_experts_per_tok", "moe_topk", "top_k_experts")
    inner = max(inner, experts * first_of(decoder, "moe_intermediate_size", "expert_ffn_hidden_size"))
    return LayerSizes(width, inner, first_of(decoder, "num_attention_heads", "n_head", "decoder_attention_heads"))


def first_of(config: Mapping[str, Any], *keys: str) -> int:
    """The first of `keys` that is there as a number, else 0; of a list (layers that differ) the largest."""
    value = next((config[key] for key in keys if config.get(key) and not isinstance(config[key], Mapping)), 0)
    return int(max(value)) if isinstance(value, (list, tuple)) else int(value)


def _patches_together(arrays: Mapping[str, np.ndarray], patches: int) -> int:
    """Of a picture or clip cut into so many: those of its largest part, or of as many frames as are seen at a time."""
    if "grid" in arrays:
        return max(int(arrays["grid"][-2:].prod()), min(patches, PATCHES_AT_ONCE))
    shapes = next((arrays[name] for name in ("grids", "shapes") if name in arrays), None)
    return patches if shapes is None else int(shapes.prod(axis=1).max())
