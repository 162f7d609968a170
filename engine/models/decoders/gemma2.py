"""Gemma 2 as the reference has it: every other layer looks back at so many tokens only, and rows may stand in a batch.

Knows nothing of how the decoder is built. Source: arXiv 2408.00118; the window tells once a text is longer than it.
"""

from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.base import create_attention_mask
from mlx_lm.models.gemma2 import TransformerBlock

from engine.models.base import Config


class GroupedBlock(TransformerBlock):
    """Takes the mask of a batch, (B, 1, L, K), too: mlx-lm's attention wants an axis for its groups of heads in it."""

    def __call__(self, x: mx.array, mask: mx.array | None = None, cache: Any = None) -> mx.array:
        if mask is not None and mask.ndim == 4 and self.self_attn.repeats > 1:
            mask = mask[:, :, None]
        return super().__call__(x, mask, cache)


class SlidingBlock(GroupedBlock):
    """`window` tokens, the one that looks among them."""

    window: int

    def __call__(self, x: mx.array, mask: mx.array | None = None, cache: Any = None) -> mx.array:
        return super().__call__(x, create_attention_mask(x, cache, self.window, return_array=True), cache)


def slide_every_other_layer(decoder: nn.Module, config: Config) -> None:
    """As the config's `layer_types` say; without any, the first layer slides, the second does not, and so on."""
    kinds = config.get("layer_types") or ["sliding_attention", "full_attention"] * len(decoder.layers)
    for layer, kind in zip(decoder.layers, kinds, strict=False):
        layer.__class__ = GroupedBlock
        if kind == "sliding_attention" and config.get("sliding_window"):
            layer.__class__ = SlidingBlock
            layer.window = config["sliding_window"]
