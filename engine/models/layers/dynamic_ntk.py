"""Rotary positions whose waves lengthen with the text (dynamic NTK), for sequences of different lengths side by side.

Knows nothing of decoders. mlx-lm's module takes one offset for all; here each row of a batch has its own waves, those
it would have alone. Source of the maths: transformers' `modeling_rope_utils.py`, `_compute_dynamic_ntk_parameters`.
"""

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.rope_utils import DynamicNTKScalingRoPE

from engine.models.layers.mrope import turned


class RowwiseDynamicRope(DynamicNTKScalingRoPE):
    def __call__(self, x: mx.array, offset: int | mx.array = 0) -> mx.array:
        """(B, heads, L, dims) -> the same, turned; `offset` is one number, or one a row (B,)."""
        if isinstance(offset, int):
            return super().__call__(x, offset)
        ends = (offset + x.shape[-2]) / self.max_position_embeddings
        growth = mx.maximum(self.factor * ends - (self.factor - 1), 1) ** (self.dims / (self.dims - 2))
        frequencies = (self.base * growth)[:, None] ** (-mx.arange(0, self.dims, 2) / self.dims)
        positions = offset[:, None] + mx.arange(x.shape[-2])
        angles = positions[:, None, :, None] * frequencies[:, None, None]
        return turned(x, mx.cos(angles), mx.sin(angles))


def lengthen_by_row(decoder: nn.Module) -> None:
    """Let the rotary modules of `decoder` that lengthen their waves take an offset a row."""
    for module in decoder.modules():
        if type(module) is DynamicNTKScalingRoPE and not module.traditional:
            module.__class__ = RowwiseDynamicRope
