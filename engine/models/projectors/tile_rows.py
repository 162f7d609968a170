"""Features of tiles laid out as the picture they were cut from, row by row, each row with a mark at its end.

Knows nothing of how tiles are cut. Source: transformers' `modeling_llava_next.py`, `pack_image_features`.
"""

from collections.abc import Mapping

import mlx.core as mx
import numpy as np

from engine.models.layers.bilinear import resized
from engine.models.recipes.pictures import Pair


def laid_out(tiles: mx.array, arrays: Mapping[str, np.ndarray], end: mx.array) -> mx.array:
    """(1 + rows * columns, n * n, D), the small whole first, and what `AnyresProcessor` says of them -> (features, D):
    the whole, then the rows of those features that show the picture, `end` (D,) behind each."""
    (top, bottom), (left, right) = arrays["shown"].tolist()
    picture = joined(tiles[1:], tuple(arrays["grid"].tolist()))[top:bottom, left:right]
    if picture.shape[:2] != (size := tuple(arrays["size"].tolist())):
        picture = resized(picture, *size)
    return mx.concatenate([tiles[0], rows_with_ends(picture, end)])


def joined(tiles: mx.array, grid: Pair) -> mx.array:
    """(rows * columns, n * n, D) -> the picture's map (rows * n, columns * n, D)."""
    side = int(tiles.shape[1] ** 0.5)
    blocks = tiles.reshape(*grid, side, side, -1).swapaxes(1, 2)
    return blocks.reshape(grid[0] * side, grid[1] * side, -1)


def rows_with_ends(picture: mx.array, end: mx.array) -> mx.array:
    """(H, W, D) with `end` (D,) behind each row -> (H * (W + 1), D)."""
    height, _, width = picture.shape
    ends = mx.broadcast_to(end.astype(picture.dtype), (height, 1, width))
    return mx.concatenate([picture, ends], axis=1).reshape(-1, width)
