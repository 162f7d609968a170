"""A picture squeezed into the grid of square tiles that is nearest to its shape, and a small copy of the whole at last.

Knows nothing of towers. Gives the tiles of transformers' GOT-OCR 2 processor, which is also InternVL's
(`image_processing_pil_got_ocr2.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from engine.api.errors import CheckpointError
from engine.models.recipes.pictures import Pair, Values
from engine.models.recipes.preprocessor import CLIP_MEAN, CLIP_STD
from engine.models.recipes.tile_grid import nearest_grid


@dataclass(frozen=True, slots=True)
class DynamicTileRecipe:
    size: Pair
    """Of a tile, in pixels."""
    fewest: int
    most: int
    """Tiles of a picture, the small copy not counted. At most one: the whole is all there is."""
    thumbnail: bool
    """Whether there is a small copy beside several tiles."""
    resample: int
    values: Values

    @classmethod
    def read(cls, settings: Mapping[str, Any], *, split: bool) -> "DynamicTileRecipe":
        """From a preprocessor file, with the defaults of its processor's type; `split`: whether there are tiles. Raises
        `CheckpointError` for what is not known."""
        if not settings.get("do_resize", True):
            raise CheckpointError("The preprocessor file wants pictures that are not resized, which is not known here.")
        size = settings.get("size", {"height": 384, "width": 384})
        if set(size) != {"height", "width"}:
            raise CheckpointError(f"The preprocessor file asks for tiles of the size {size}, unknown here.")
        return cls(
            size=(size["height"], size["width"]),
            fewest=settings.get("min_patches", 1),
            most=settings.get("max_patches", 12) if split else 1,
            thumbnail=True,
            resample=settings.get("resample", Image.Resampling.BICUBIC),
            values=Values.read(settings, CLIP_MEAN, CLIP_STD),
        )

    def for_tower(self, side: int) -> "DynamicTileRecipe":
        """This, if a tile is as large as a tower's pictures; else raises `CheckpointError`."""
        if self.size != (side, side):
            raise CheckpointError(
                f"The preprocessor file makes tiles of {self.size[1]} x {self.size[0]} pixels, "
                f"the tower takes {side} x {side}."
            )
        return self

    def __call__(self, picture: Image.Image) -> np.ndarray:
        """RGB -> (tiles, 3, H, W) float32, row by row and then the whole."""
        height, width = self.size
        size = (picture.height, picture.width)
        rows, columns = (1, 1) if self.most <= 1 else self.grid(size)
        tiles = self.resized(picture, (rows * height, columns * width))
        tiles = tiles.reshape(rows, height, columns, width, 3).swapaxes(1, 2).reshape(-1, height, width, 3)
        if len(tiles) > 1 and self.thumbnail:
            tiles = np.concatenate([tiles, self.resized(picture, self.size)[None]])
        return self.values(tiles)

    def grid(self, size: Pair) -> Pair:
        """Rows and columns for a picture of `size`."""
        return nearest_grid(size, self.size, self.fewest, self.most)

    def resized(self, picture: Image.Image, size: Pair) -> np.ndarray:
        """(H, W, 3) uint8"""
        return np.asarray(picture.resize(size[::-1], self.resample))
