"""Gemma's activation, which mlx-lm takes exact where the reference takes its tanh form.

Knows nothing of how the decoder is built. The weights were trained with the tanh form (transformers
`configuration_gemma.py` says so of files that name the other); in a tiny model logits differ by 2e-4 of the largest.
"""

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.gemma import MLP

from engine.models.base import Config
from engine.models.layers.activations import gelu_tanh


class TanhMLP(MLP):
    def __call__(self, x: mx.array) -> mx.array:
        return self.down_proj(gelu_tanh(self.gate_proj(x)) * self.up_proj(x))


def activate_by_tanh(decoder: nn.Module, config: Config) -> None:
    for layer in decoder.layers:
        layer.mlp.__class__ = TanhMLP
