"""A picture at the best of several resolutions: fitted into it, cut into tiles, and a small copy of the whole first.

Knows nothing of towers. Gives the tiles of transformers' LLaVA-NeXT and LLaVA-OneVision processors
(`image_processing_pil_llava_next.py`), and the part of their features that shows the picture and not its border.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, sqrt
from typing import Any

import numpy as np
from PIL import Image

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import PreparedMedia
from engine.models.recipes.pictures import Pair, PictureRecipe, fingerprint


@dataclass(frozen=True, slots=True)
class AnyresRecipe:
    pinpoints: tuple[Pair, ...]
    """The resolutions there are, each a whole number of tiles."""
    whole: Pair
    """What the small copy is squeezed to."""
    side: int
    """Of a tile, in pixels, as it is cut."""
    tile: PictureRecipe
    """What is done to each tile and to the small copy."""
    most_tiles: int | None = None
    """A picture of clearly more is scaled down once it is features."""

    @classmethod
    def read(
        cls, settings: Mapping[str, Any], tile: PictureRecipe, pinpoints: Sequence[Sequence[int]]
    ) -> "AnyresRecipe":
        """From a preprocessor file; `pinpoints` for one that names none."""
        size = settings.get("size") or dict(tile.size or {})
        edge = size if isinstance(size, int) else size.get("shortest_edge")
        whole = (edge, edge) if edge else (size["height"], size["width"])
        crop = settings.get("crop_size", tile.crop[0] if tile.crop else None)
        side = (crop["height"] if isinstance(crop, Mapping) else crop) or whole[0]
        points = settings.get("image_grid_pinpoints") or pinpoints
        return cls(tuple((height, width) for height, width in points), whole, side, tile)

    def __call__(self, picture: Image.Image) -> tuple[np.ndarray, Pair]:
        """RGB -> (1 + rows * columns, 3, H, W) float32, the whole first, and how many rows and columns of tiles."""
        resample, side = self.tile.resample, self.side
        height, width = best_resolution((picture.height, picture.width), self.pinpoints)
        fitted = picture.resize(fitted_size((picture.height, picture.width), (height, width))[::-1], resample)
        canvas = Image.new("RGB", (width, height))
        canvas.paste(fitted, ((width - fitted.width) // 2, (height - fitted.height) // 2))
        rows, columns = ceil(height / side), ceil(width / side)
        corners = [(column * side, row * side) for row in range(rows) for column in range(columns)]
        tiles = [canvas.crop((left, top, left + side, top + side)) for left, top in corners]
        seen = [picture.resize(self.whole[::-1], resample), *tiles]
        return np.stack([self.tile(tile) for tile in seen]), (rows, columns)


class AnyresProcessor:
    """Tiles of a picture, and a marker for each feature that shows it and for each row's end."""

    marker = "<image>"

    def __init__(self, recipe: AnyresRecipe, side: int, features: int, slot_id: int):
        """A tile of `side` pixels gives `features` on a side."""
        self.slot_id = slot_id
        self._recipe = recipe
        self._side = side
        self._features = features

    def prepare(self, picture: Image.Image, digest: str) -> PreparedMedia:
        pixels, grid = self._recipe(picture)
        features = self._features
        if pixels.shape[2:] != (self._side, self._side):
            raise CheckpointError(
                f"The preprocessor file makes tiles of {pixels.shape[3]} x {pixels.shape[2]} pixels, "
                f"the tower takes {self._side} x {self._side}."
            )
        rows, columns = unpadded((picture.height, picture.width), (grid[0] * features, grid[1] * features))
        most = self._recipe.most_tiles * features**2 if self._recipe.most_tiles else None
        height, width = shrunk((rows[1] - rows[0], columns[1] - columns[0]), most)
        count = features**2 + height * (width + 1)
        return PreparedMedia(
            modality=Modality.IMAGE,
            arrays={
                "pixel_values": pixels,
                "grid": np.array(grid),
                "shown": np.array([rows, columns]),
                "size": np.array([height, width]),
            },
            expansion=self.marker * count,
            feature_count=count,
            digest=fingerprint(digest, self._recipe),
        )


def best_resolution(size: Pair, pinpoints: Sequence[Pair]) -> Pair:
    """The one that keeps most of the picture's pixels; of those that keep as many, the one that wastes least."""
    found, best = pinpoints[0], (-1.0, -inf)
    for height, width in pinpoints:
        scale = min(width / size[1], height / size[0])
        kept = min(int(size[1] * scale) * int(size[0] * scale), size[0] * size[1])
        if (kept, kept - height * width) > best:
            found, best = (height, width), (kept, kept - height * width)
    return found


def fitted_size(size: Pair, room: Pair) -> Pair:
    """`size` scaled until one side fills `room`, the other rounded up."""
    across, down = room[1] / size[1], room[0] / size[0]
    if across < down:
        return min(ceil(size[0] * across), room[0]), room[1]
    return room[0], min(ceil(size[1] * down), room[1])


def unpadded(size: Pair, patches: Pair) -> tuple[Pair, Pair]:
    """Which rows and which columns of `patches` show a picture of `size`, from the first to behind the last."""
    height, width = size
    rows, columns = patches
    if width / height > columns / rows:
        border = (rows - int(round(height * (columns / width), 7))) // 2
        return (border, rows - border), (0, columns)
    border = (columns - int(round(width * (rows / height), 7))) // 2
    return (0, rows), (border, columns - border)


def shrunk(size: Pair, most: int | None) -> Pair:
    """`size` in features, scaled down where it is clearly more than `most` of them (LLaVA-OneVision's anyres_max)."""
    ratio = sqrt(size[0] * size[1] / most) if most else 0.0
    return (int(size[0] // ratio), int(size[1] // ratio)) if ratio > 1.1 else size
