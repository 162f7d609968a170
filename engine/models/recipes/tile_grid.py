"""Which grid of tiles is nearest to a picture's shape, or holds it with the least scaling.

Knows nothing of pixels. The first as InternVL's authors choose it, and GOT-OCR 2 and LFM2-VL after them, the second as
Llama 3.2 does and Cohere after it (transformers' functions called `get_optimal_tiled_canvas`).
"""

from engine.models.recipes.pictures import Pair


def nearest_grid(size: Pair, tile: Pair, fewest: int, most: int) -> Pair:
    """Rows and columns, `fewest` to `most` tiles of the size `tile`, for a picture of `size`. Of grids that are as near
    the largest, unless half of its pixels or more would not be in the picture."""
    shape, area = size[1] / size[0], size[0] * size[1]
    found, nearest = (1, 1), float("inf")
    for rows, columns in _grids(fewest, most):
        distance = abs(shape - columns / rows)
        fills = area > 0.5 * tile[0] * tile[1] * rows * columns
        if distance < nearest or (distance == nearest and fills):
            found, nearest = (rows, columns), distance
    return found


def least_scaled_grid(size: Pair, tile: Pair, most: int) -> Pair:
    """Rows and columns, at most `most` tiles of the size `tile`: the grid for which a picture of `size` has to be
    enlarged least or, where none holds it, shrunk least; of several the one of the fewest tiles."""

    def scaling(grid: Pair) -> tuple[bool, float]:
        scale = min(grid[0] * tile[0] / size[0], grid[1] * tile[1] / size[1])
        return scale < 1, scale if scale >= 1 else -scale

    return min(_grids(1, most), key=scaling)


def _grids(fewest: int, most: int) -> list[Pair]:
    """Fewer tiles first, of as many the narrower grid first."""
    found = [(rows, columns) for columns in range(1, most + 1) for rows in range(1, most // columns + 1)]
    return sorted((grid for grid in found if grid[0] * grid[1] >= fewest), key=lambda grid: grid[0] * grid[1])
