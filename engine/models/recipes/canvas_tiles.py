"""A picture on the smallest canvas of whole tiles that holds it, at its upper left, and cut into them.

Knows nothing of towers. Gives the tiles of transformers' `MllamaImageProcessorPil`, and of its `Llama4ImageProcessor`,
which is written with torchvision and looks at the whole besides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import floor
from typing import Any

import numpy as np
from PIL import Image

from engine.api.errors import CheckpointError
from engine.models.media.torch_resize import torch_resize
from engine.models.recipes.pictures import Pair, Values
from engine.models.recipes.preprocessor import HALF
from engine.models.recipes.tile_grid import least_scaled_grid


@dataclass(frozen=True, slots=True)
class CanvasRecipe:
    side: int
    """Of a tile, in pixels."""
    most_tiles: int
    resample: int
    values: Values
    as_torch: bool = False
    """Whether pictures are resized to PyTorch's numbers or Pillow's."""

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
        """RGB -> tiles (N, 3, side, side) float32, row by row, and how many rows and columns of them."""
        size, side = (picture.height, picture.width), self.side
        rows, columns = self.grid(size)
        height, width = self.fitted_size(size, (rows, columns))
        canvas = np.zeros((rows * side, columns * side, 3), np.uint8)
        canvas[:height, :width] = self.resized(picture, (height, width))
        pixels = self.values(canvas).reshape(3, rows, side, columns, side)
        return pixels.transpose(1, 3, 0, 2, 4).reshape(-1, 3, side, side), (rows, columns)

    def whole(self, picture: Image.Image) -> np.ndarray:
        """RGB -> (3, side, side) float32, its shape not kept."""
        return self.values(self.resized(picture, (self.side, self.side)))

    def resized(self, picture: Image.Image, size: Pair) -> np.ndarray:
        """(height, width, 3) uint8."""
        if self.as_torch:
            return torch_resize(np.asarray(picture), size, self.resample)
        return np.asarray(picture.resize(size[::-1], self.resample))

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
