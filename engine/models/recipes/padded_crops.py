"""A picture as large as fits on whole crops, white at the right or below, with a mask of the patches that show it.

Knows nothing of towers. Gives the crops of transformers' `Phi4MultimodalImageProcessor`, and the small copy of all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from PIL import Image

from engine.api.errors import CheckpointError, MediaError
from engine.api.events import Modality
from engine.models.base import PreparedMedia
from engine.models.layers.bicubic import cubic_weights
from engine.models.media.torch_resize import torch_resize
from engine.models.recipes.pictures import Pair, Values, fingerprint
from engine.models.recipes.preprocessor import HALF
from engine.models.recipes.tile_grid import nearest_grid

FEWEST_PIXELS = 10
"""Along a side of a picture once it is scaled, as the reference has it."""


@dataclass(frozen=True, slots=True)
class Crops:
    pixels: np.ndarray
    """(1 + rows * columns, 3, side, side) float32, the small copy first, then row by row."""
    masks: np.ndarray
    """(1 + rows * columns, n, n) bool: which of their patches show the picture."""
    grid: Pair
    shown: Pair
    """Rows and columns of patches, of all crops together, that show the picture."""


@dataclass(frozen=True, slots=True)
class PaddedCropRecipe:
    side: int
    """Of a crop, in pixels."""
    patch: int
    most_crops: int
    resample: int
    """Of the small copy; the picture itself is scaled bilinearly."""
    values: Values

    @classmethod
    def read(cls, settings: Mapping[str, Any], side: int, patch: int) -> "PaddedCropRecipe":
        """From a preprocessor file; `side` and `patch` for one that does not say."""
        size = settings.get("size", {"height": side, "width": side})
        resample = settings.get("resample", Image.Resampling.BICUBIC)
        if size.get("height") != size.get("width") or resample != Image.Resampling.BICUBIC:
            raise CheckpointError(f"The preprocessor file wants small copies of the size {dict(size)}, or not bicubic.")
        values = Values.read(settings, HALF, HALF)
        return cls(size["height"], settings.get("patch_size", patch), settings.get("dynamic_hd", 36), resample, values)

    def __call__(self, picture: Image.Image) -> Crops:
        """Raises `MediaError` for a picture too narrow to be scaled."""
        size, side, patches = (picture.height, picture.width), self.side, self.side // self.patch
        rows, columns = self.grid(size)
        height, width = self.fitted_size(size, (rows, columns))
        canvas = np.full((rows * side, columns * side, 3), 255, np.uint8)
        canvas[:height, :width] = torch_resize(np.asarray(picture), (height, width), Image.Resampling.BILINEAR)
        pixels = self.values(canvas)
        # A patch counts as long as any of it shows the picture.
        shown = (ceil(height / self.patch), ceil(width / self.patch))
        mask = np.zeros((rows * patches, columns * patches), bool)
        mask[: shown[0], : shown[1]] = True
        small, whole = _shrunk(pixels, side), np.ones((patches, patches), bool)
        tiles = pixels.reshape(3, rows, side, columns, side).transpose(1, 3, 0, 2, 4).reshape(-1, 3, side, side)
        masks = mask.reshape(rows, patches, columns, patches).swapaxes(1, 2).reshape(-1, patches, patches)
        return Crops(np.concatenate([small[None], tiles]), np.concatenate([whole[None], masks]), (rows, columns), shown)

    def grid(self, size: Pair) -> Pair:
        """As many as the picture covers; where those are too many, the grid whose shape is nearest to its own."""
        rows, columns = (ceil(length / self.side) for length in size)
        if rows * columns <= self.most_crops:
            return rows, columns
        return nearest_grid(size, (self.side, self.side), 1, self.most_crops)

    def fitted_size(self, size: Pair, grid: Pair) -> Pair:
        """Enlarged or shrunk until it reaches the end of the crops in one direction."""
        room = (grid[0] * self.side, grid[1] * self.side)
        down, across = room[0] / size[0], room[1] / size[1]
        fitted = (int(size[0] * across), room[1]) if across < down else (room[0], int(size[1] * down))
        if min(fitted) < FEWEST_PIXELS:
            raise MediaError(
                f"The picture is {size[1]} x {size[0]} pixels, too long and narrow for this model.",
                "Crop it to what matters.",
            )
        return fitted


@dataclass(frozen=True, slots=True)
class PaddedCropProcessor:
    """A marker for each feature of the crops together, each of their rows and the end of both."""

    marker: str
    slot_id: int
    recipe: PaddedCropRecipe

    def prepare(self, picture: Image.Image, digest: str) -> PreparedMedia:
        crops = self.recipe(picture)
        rows, columns = (-(-patches // 2) for patches in crops.shown)
        side = crops.masks.shape[1] // 2
        count = rows * (columns + 1) + 1 + side * (side + 1)
        return PreparedMedia(
            modality=Modality.IMAGE,
            arrays={
                "pixel_values": crops.pixels,
                "masks": crops.masks,
                "grid": np.array(crops.grid),
                "shown": np.array([rows, columns]),
            },
            expansion=self.marker * count,
            feature_count=count,
            digest=fingerprint(digest, self.recipe),
        )


def _shrunk(pixels: np.ndarray, side: int) -> np.ndarray:
    """(3, H, W) float32 -> (3, side, side), bicubically without smoothing."""
    rows, columns = (cubic_weights(length, side) for length in pixels.shape[1:])
    return (rows @ pixels) @ columns.T
