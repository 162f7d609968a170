"""A picture on the smallest canvas of whole tiles that holds it, at its upper left, and cut into them.

Knows nothing of towers. Gives the tiles of transformers' `MllamaImageProcessorPil`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import floor
from typing import Any

import numpy as np
from PIL import Image

from engine.api.errors import CheckpointError
from engine.models.media.tile_grid import least_scaled_grid
from engine.models.pictures import Pair, Values
from engine.models.preprocessor import HALF


@dataclass(frozen=True, slots=True)
class CanvasRecipe:
    side: int
    """Of a tile, in pixels."""
    most_tiles: int
    resample: int
    values: Values

    @classmethod
    def read(cls, settings: Mapping[str, Any], side: int, most_tiles: int) -> "CanvasRecipe":
        """From a preprocessor file; `side` and `most_tiles` for one that does not say."""
        if not settings.get("do_resize", True) or not settings.get("do_pad", True):
            raise CheckpointError("The preprocessor file wants pictures that are not resized or not padded.")
        size = settings.get("size", {"height": side, "width": side})
        if size.get("height") != size.get("width") or not size.get("height"):
            raise CheckpointError(f"The preprocessor file asks for tiles of the size {dict(size)}, unknown here.")
        return cls(
            side=size["height"],
            most_tiles=settings.get("max_image_tiles", most_tiles),
            resample=settings.get("resample", Image.Resampling.BILINEAR),
            values=Values.read(settings, HALF, HALF),
        )

    def __call__(self, picture: Image.Image) -> tuple[np.ndarray, Pair]:
        """RGB -> (most_tiles, 3, side, side) float32, row by row, zeros behind the last, and how many rows and
        columns of tiles."""
        size, side = (picture.height, picture.width), self.side
        rows, columns = self.grid(size)
        canvas = Image.new("RGB", (columns * side, rows * side))
        canvas.paste(picture.resize(self.fitted_size(size, (rows, columns))[::-1], self.resample))
        pixels = self.values(np.asarray(canvas)).reshape(3, rows, side, columns, side)
        tiles = np.zeros((self.most_tiles, 3, side, side), np.float32)
        tiles[: rows * columns] = pixels.transpose(1, 3, 0, 2, 4).reshape(-1, 3, side, side)
        return tiles, (rows, columns)

    def grid(self, size: Pair) -> Pair:
        return least_scaled_grid(size, (self.side, self.side), self.most_tiles)

    def fitted_size(self, size: Pair, grid: Pair) -> Pair:
        """What the picture is scaled to: as large as fits, but a small one is not enlarged beyond one tile."""
        height, width = (
            min(max(length, self.side), count * self.side) for length, count in zip(size, grid, strict=True)
        )
        down, across = height / size[0], width / size[1]
        if across < down:
            return min(floor(size[0] * across) or 1, height), width
        return height, min(floor(size[1] * down) or 1, width)


def grids(most_tiles: int) -> list[Pair]:
    """All there are, in the order in which the tower numbers them."""
    counts = range(1, most_tiles + 1)
    return [(rows, columns) for rows, columns in product(counts, counts) if rows * columns <= most_tiles]
