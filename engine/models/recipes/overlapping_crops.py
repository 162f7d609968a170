"""A picture as square crops that overlap, a small copy of the whole first, and which patches become one feature.

Knows nothing of towers and prompts. The numbers of transformers' `image_processing_molmo2.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL.Image import Resampling

from engine.api.errors import CheckpointError
from engine.models.media.torch_sample import torch_sample
from engine.models.recipes.pictures import Pair, Values
from engine.models.recipes.preprocessor import HALF


@dataclass(frozen=True, slots=True)
class WholeRecipe:
    """A picture squeezed to one square."""

    side: int
    patch: int
    pool: Pair
    """Patches in a block that becomes one feature."""
    values: Values

    @classmethod
    def read(cls, settings: Mapping[str, Any], side: int, patch: int, pool: Pair) -> "WholeRecipe":
        """From a preprocessor file, for a tower of so large pictures and patches; `pool` for one that does not say."""
        size = settings.get("size", {"height": side, "width": side})
        size = {"height": size, "width": size} if isinstance(size, int) else size
        cut = (size.get("height"), size.get("width"), settings.get("patch_size", patch))
        if cut != (side, side, patch):
            raise CheckpointError(
                f"The preprocessor file cuts (height, width, patch) {cut}, the tower takes {side, side, patch}."
            )
        if settings.get("resample", Resampling.BILINEAR) != Resampling.BILINEAR or not settings.get("do_resize", True):
            raise CheckpointError("The preprocessor file wants pictures resized in a way that is not known here.")
        high, wide = settings.get("pooling_size", pool)
        return cls(side, patch, (high, wide), Values.read(settings, HALF, HALF))

    @property
    def grid(self) -> np.ndarray:
        """(rows, columns): the number of each patch."""
        patches = self.side // self.patch
        return np.arange(patches**2, dtype=np.int32).reshape(patches, patches)


@dataclass(frozen=True, slots=True)
class CropRecipe:
    """Up to `most` crops beside the whole, in which the outer patches only serve as a look across the border."""

    whole: WholeRecipe
    margins: Pair
    """Patches of a crop that its neighbour before it shows better, and its neighbour behind it."""
    most: int

    @classmethod
    def read(cls, settings: Mapping[str, Any], side: int, patch: int) -> "CropRecipe":
        before, behind = settings.get("overlap_margins", (4, 4))
        if before + behind >= side // patch:
            raise CheckpointError(f"Crops that overlap by {before} and {behind} patches are all border.")
        return cls(WholeRecipe.read(settings, side, patch, (2, 2)), (before, behind), settings.get("max_crops", 8))

    def __call__(self, picture: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """(H, W, 3) uint8 -> (1 + crops, 3, side, side) float32, and for the whole and then the crops, which of all
        patches each feature pools: (rows, columns, pool) int32, -1 for none."""
        side, patch = self.whole.side, self.whole.patch
        step, border = side - sum(self.margins) * patch, sum(self.margins) * patch
        rows, columns = best_tiling((picture.shape[0] - border, picture.shape[1] - border), step, self.most)
        canvas = torch_sample(picture, (rows * step + border, columns * step + border))
        corners = [(row * step, column * step) for row in range(rows) for column in range(columns)]
        crops = [canvas[top : top + side, left : left + side] for top, left in corners]
        pixels = self.whole.values(np.stack([torch_sample(picture, (side, side)), *crops]))
        grid = self._seen_once((rows, columns)) + self.whole.grid.size
        return pixels, [pooled(self.whole.grid, self.whole.pool), pooled(grid, self.whole.pool)]

    def _seen_once(self, tiling: Pair) -> np.ndarray:
        """The patches of all crops laid out as the picture, each place by the crop that shows it best."""
        rows, columns = tiling
        patches, (before, behind) = self.whole.side // self.whole.patch, self.margins
        grid = np.arange(rows * columns * patches**2, dtype=np.int32).reshape(rows, columns, patches, patches)
        kept = np.ones(grid.shape, bool)
        kept[1:, :, :before] = kept[:, 1:, :, :before] = False
        kept[:-1, :, patches - behind :] = kept[:, :-1, :, patches - behind :] = False
        inner, border = patches - before - behind, before + behind
        laid = grid.swapaxes(1, 2)[kept.swapaxes(1, 2)]
        return laid.reshape(rows * inner + border, columns * inner + border)


def best_tiling(size: Pair, side: int, most: int) -> Pair:
    """Rows and columns of the tiles that enlarge a picture of `size` least, or, where all make it smaller, most keep of
    it. A side that is nothing but border, or less, counts as it comes: as the reference has it."""
    tilings = [(rows, columns) for rows in range(1, most + 1) for columns in range(1, most // rows + 1)]
    tilings.sort(key=lambda tiling: (tiling[0] * tiling[1], tiling[0]))
    with np.errstate(divide="ignore"):
        scales = ((np.array(tilings) * side).astype(np.float32) / np.array(size, np.float32)).min(axis=1)
    if (scales < 1).all():
        return tilings[int(scales.argmax())]
    return tilings[int(np.where(scales < 1, np.inf, scales).argmin())]


def pooled(grid: np.ndarray, pool: Pair) -> np.ndarray:
    """(H, W) numbers of patches -> (rows, columns, pool[0] * pool[1]): the blocks, the rest of the last shared between
    both ends and filled up with -1."""
    lacking = [-length % block for length, block in zip(grid.shape, pool, strict=True)]
    padded = np.pad(grid, [(rest // 2, rest - rest // 2) for rest in lacking], constant_values=-1)
    rows, columns = (length // block for length, block in zip(padded.shape, pool, strict=True))
    blocks = padded.reshape(rows, pool[0], columns, pool[1]).swapaxes(1, 2)
    return blocks.reshape(rows, columns, pool[0] * pool[1])
