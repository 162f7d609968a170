"""Gemma 2's sliding window, which mlx-lm leaves out: every other layer looks back at so many tokens only.

Knows nothing of how the decoder is built. Source: arXiv 2408.00118; it tells once a text is longer than the window.
"""

from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.base import create_attention_mask
from mlx_lm.models.gemma2 import TransformerBlock

from engine.models.base import Config


class SlidingBlock(TransformerBlock):
    """`window` tokens, the one that looks among them."""

    window: int

    def __call__(self, x: mx.array, mask: mx.array | None = None, cache: Any = None) -> mx.array:
        return super().__call__(x, create_attention_mask(x, cache, self.window, return_array=True), cache)


def slide_every_other_layer(decoder: nn.Module, config: Config) -> None:
    """As the config's `layer_types` say; without any, the first layer slides, the second does not, and so on."""
    if not config.get("sliding_window"):
        return
    kinds = config.get("layer_types") or ["sliding_attention", "full_attention"] * len(decoder.layers)
    for layer, kind in zip(decoder.layers, kinds, strict=False):
        if kind == "sliding_attention":
            layer.__class__ = SlidingBlock
            layer.window = config["sliding_window"]
