"""A large picture as tiles in the grid whose shape is nearest to its own, and a small copy of the whole behind them.

Knows nothing of prompts. A small one is a whole only. Gives the patches of transformers' `Lfm2VlImageProcessor`
(`image_processing_lfm2_vl.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor, sqrt
from typing import Any

import numpy as np
from PIL import Image

from engine.api.errors import CheckpointError
from engine.models.media.torch_resize import torch_resize
from engine.models.recipes.pictures import Pair, Values, refuse_strip
from engine.models.recipes.preprocessor import HALF
from engine.models.recipes.tile_grid import nearest_grid


@dataclass(frozen=True, slots=True)
class Tiles:
    patches: np.ndarray
    """(N, patch^2 * 3) float32 of all tiles, row by row, channels last."""
    shapes: tuple[Pair, ...]
    """Rows and columns of patches in each tile, the whole last."""
    grid: Pair
    """Rows and columns of tiles; (1, 1) if the whole is all there is."""


@dataclass(frozen=True, slots=True)
class NearestTileRecipe:
    patch: int
    """Pixels along a side of a patch."""
    merge: int
    """Patches along a side of what becomes one feature."""
    side: int
    """Of a tile, in pixels."""
    fewest_tiles: int
    most_tiles: int
    """Both 1 where nothing is cut."""
    thumbnail: bool
    """Whether the whole is looked at besides the tiles."""
    fewest_features: int
    most_features: int
    """Of a whole picture."""
    tolerance: float
    """How many times the pixels of `most_features` a picture may have before it is cut."""
    resample: int
    values: Values

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> "NearestTileRecipe":
        """From a preprocessor file, with the defaults of its processor's type. Raises `CheckpointError` for numbers
        that do not go together."""
        cut = settings.get("do_image_splitting", True)
        recipe = cls(
            patch=settings.get("encoder_patch_size", 16),
            merge=settings.get("downsample_factor", 2),
            side=settings.get("tile_size", 512),
            fewest_tiles=settings.get("min_tiles", 2) if cut else 1,
            most_tiles=settings.get("max_tiles", 10) if cut else 1,
            thumbnail=settings.get("use_thumbnail", True),
            fewest_features=settings.get("min_image_tokens", 64),
            most_features=settings.get("max_image_tokens", 256),
            tolerance=settings.get("max_pixels_tolerance", 2.0),
            resample=settings.get("resample", Image.Resampling.BILINEAR),
            values=Values.read(settings, HALF, HALF),
        )
        if recipe.fewest_tiles > recipe.most_tiles:
            raise CheckpointError("The preprocessor file's min_tiles are more than its max_tiles.")
        if recipe.side % recipe.block:
            raise CheckpointError(f"Tiles of {recipe.side} pixels are not made of whole features of {recipe.block}.")
        return recipe

    @property
    def block(self) -> int:
        """Pixels along a side of what becomes one feature."""
        return self.patch * self.merge

    def __call__(self, picture: Image.Image) -> Tiles:
        """Raises `MediaError` for a picture too narrow to be scaled."""
        size = (picture.height, picture.width)
        refuse_strip(size)
        pixels = np.asarray(picture)
        whole = torch_resize(pixels, self.scaled_size(size), self.resample)
        if not self.is_cut(size):
            return self._patched([whole], (1, 1))
        rows, columns = nearest_grid(size, (self.side, self.side), self.fewest_tiles, self.most_tiles)
        canvas = torch_resize(pixels, (rows * self.side, columns * self.side), self.resample)
        cut = canvas.reshape(rows, self.side, columns, self.side, 3).swapaxes(1, 2)
        seen = list(cut.reshape(-1, self.side, self.side, 3))
        if self.thumbnail and len(seen) > 1:
            seen.append(whole)
        return self._patched(seen, (rows, columns))

    def is_cut(self, size: Pair) -> bool:
        if self.most_tiles == 1:
            return False
        height, width = (max(self.patch, round(side / self.block) * self.block) for side in size)
        return height * width > self.most_features * self.block**2 * self.tolerance

    def scaled_size(self, size: Pair) -> Pair:
        """Of the whole: a number of features on each side, within bounds on how many there are."""
        height, width = size
        block = self.block
        rows, columns = (max(1, round(side / block)) for side in size)
        if rows * columns > self.most_features:
            shrink = sqrt(height * width / (self.most_features * block**2))
            rows, columns = (max(1, floor(side / shrink / block)) for side in size)
        elif rows * columns < self.fewest_features:
            grow = sqrt(self.fewest_features * block**2 / (height * width))
            rows, columns = (ceil(side * grow / block) for side in size)
        return rows * block, columns * block

    def _patched(self, seen: list[np.ndarray], grid: Pair) -> Tiles:
        """Pictures (H, W, 3) uint8."""
        shapes = tuple((tile.shape[0] // self.patch, tile.shape[1] // self.patch) for tile in seen)
        patches = [
            self.values(tile).reshape(3, rows, self.patch, columns, self.patch).transpose(1, 3, 2, 4, 0)
            for tile, (rows, columns) in zip(seen, shapes, strict=True)
        ]
        return Tiles(np.concatenate([part.reshape(-1, 3 * self.patch**2) for part in patches]), shapes, grid)
