"""Mistral 3's projector: blocks of neighbouring patches become one feature, then two layers as in LLaVA.

Knows nothing of where its features come from. Source: transformers' `modeling_mistral3.py`.
"""

import mlx.core as mx
import mlx.nn as nn

from engine.models.projectors.mlp import MLPProjector


class PatchMerger(nn.Module):
    def __init__(self, width: int, merge: int):
        super().__init__()
        self._merge = merge
        self.merging_layer = nn.Linear(width * merge**2, width, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        """(rows, columns, D) -> (rows / merge, columns / merge, D); a block's values lie channel by channel."""
        rows, columns, width = x.shape
        merge = self._merge
        blocks = x.reshape(rows // merge, merge, columns // merge, merge, width).transpose(0, 2, 4, 1, 3)
        return self.merging_layer(blocks.reshape(rows // merge, columns // merge, -1))


class MergingProjector(MLPProjector):
    def __init__(self, in_size: int, out_size: int, *, merge: int, eps: float, hidden_act: str, bias: bool):
        super().__init__(in_size, out_size, hidden_act=hidden_act, bias=bias)
        self.norm = nn.RMSNorm(in_size, eps)
        self.patch_merger = PatchMerger(in_size, merge)

    def __call__(self, x: mx.array) -> mx.array:
        """(rows, columns, in_size) -> (rows / merge, columns / merge, out_size)."""
        return super().__call__(self.patch_merger(self.norm(x)))
