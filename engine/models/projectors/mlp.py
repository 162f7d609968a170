"""The two-layer projector of LLaVA 1.5 (arXiv 2310.03744).

Knows nothing of where its features come from.
"""

import mlx.core as mx
import mlx.nn as nn

from engine.models.layers.activations import activation


class MLPProjector(nn.Module):
    """Linear, activation, linear: from the tower's width to the decoder's, which is also that in between if no other
    is given."""

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        hidden_size: int | None = None,
        hidden_act: str = "gelu",
        bias: bool = True,
    ):
        super().__init__()
        self._activation = activation(hidden_act)
        self.linear_1 = nn.Linear(in_size, hidden_size or out_size, bias=bias)
        self.linear_2 = nn.Linear(hidden_size or out_size, out_size, bias=bias)

    def __call__(self, x: mx.array) -> mx.array:
        """(..., in_size) -> (..., out_size)."""
        return self.linear_2(self._activation(self.linear_1(x)))
