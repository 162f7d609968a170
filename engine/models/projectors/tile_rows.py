"""Features of tiles laid out as the picture they were cut from, row by row, each row with a mark at its end.

Knows nothing of how tiles are cut. Source: transformers' `modeling_llava_next.py`, `pack_image_features`.
"""

import mlx.core as mx

from engine.models.pictures import Pair


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
