"""No tower at all: squares of pixels become words by one layer, with a position for their column and row.

Knows nothing of how pictures are cut. Source: transformers `modeling_gemma4_unified.py`, `Gemma4UnifiedVisionEmbedder`.
"""

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from engine.models.recipes.pictures import Pair


class PatchWords(nn.Module):
    def __init__(self, side: int, width: int, positions: int):
        """`side` of a square in pixels; `positions` are the columns, and rows, that there may be."""
        super().__init__()
        self.patch_ln1 = nn.LayerNorm(3 * side**2)
        self.patch_dense = nn.Linear(3 * side**2, width)
        self.patch_ln2 = nn.LayerNorm(width)
        self.pos_embedding = mx.zeros((positions, 2, width))
        self.pos_norm = nn.LayerNorm(width)

    def __call__(self, patches: mx.array, grid: Pair) -> mx.array:
        """`patches` (T, N, values) of frames that have `grid` rows and columns of them -> (T, N, D)."""
        rows, columns = (mx.array(axis.reshape(-1)) for axis in np.indices(grid))
        words = self.patch_ln2(self.patch_dense(self.patch_ln1(patches.astype(self.patch_dense.weight.dtype))))
        return self.pos_norm(words + self.pos_embedding[columns, 0] + self.pos_embedding[rows, 1])
