"""Mistral's sliding window on mlx-lm's Llama, which by itself takes one in some layers but not in all.

Knows nothing of how the decoder is built.
"""

import mlx.nn as nn

from engine.models.base import Config


def slide_every_layer(decoder: nn.Module, config: Config) -> None:
    """Let each layer look back at `sliding_window` tokens, itself included (arXiv 2310.06825), if there is one."""
    if not config.get("sliding_window"):
        return
    decoder.model.sliding_window = config["sliding_window"]
    decoder.model.swa_idx = 0
    for layer in decoder.layers:
        layer.use_sliding = True
