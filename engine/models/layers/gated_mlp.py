"""The gated feed-forward layer (arXiv 2002.05202) of towers that took it from Llama.

Knows nothing of the block around it.
"""

import mlx.core as mx
import mlx.nn as nn

from engine.models.layers.activations import activation


class GatedMLP(nn.Module):
    def __init__(self, width: int, inner: int, *, hidden_act: str, bias: bool, out: int | None = None):
        """`out` channels come out, `width` without it."""
        super().__init__()
        self._activation = activation(hidden_act)
        self.gate_proj = nn.Linear(width, inner, bias=bias)
        self.up_proj = nn.Linear(width, inner, bias=bias)
        self.down_proj = nn.Linear(inner, out or width, bias=bias)

    def __call__(self, x: mx.array) -> mx.array:
        """(..., width) -> (..., out)."""
        return self.down_proj(self._activation(self.gate_proj(x)) * self.up_proj(x))
