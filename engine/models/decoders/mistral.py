"""Mistral's sliding window on mlx-lm's Llama, which by itself takes one in some layers but not in all.

Knows nothing of how the decoder is built.
"""

import mlx.nn as nn


def window_every_layer(decoder: nn.Module, window: int) -> None:
    """Let each layer of a Llama `decoder` look back at `window` tokens, itself included (arXiv 2310.06825)."""
    decoder.model.sliding_window = window
    decoder.model.swa_idx = 0
    for layer in decoder.layers:
        layer.use_sliding = True
