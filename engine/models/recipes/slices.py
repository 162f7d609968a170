"""A picture as a whole, and as slices in the grid whose shape is nearest to its own, each scaled to about one area.

Knows nothing of prompts. A small one is a whole only. Gives the patches of transformers' `MiniCPMV4_6ImageProcessorPil`
(`image_processing_pil_minicpmv4_6.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log, sqrt
from typing import Any

import numpy as np
from PIL import Image

from engine.api.errors import CheckpointError
from engine.models.recipes.pictures import Pair, Values, refuse_strip
from engine.models.recipes.preprocessor import HALF

Resize = Callable[[Pair], np.ndarray]
"""One picture at another height and width, (H, W, 3) uint8."""


@dataclass(frozen=True, slots=True)
class Sliced:
    patches: np.ndarray
    """(N, patch^2 * 3) float32 of the whole, then of the slices row by row, channels last."""
    shapes: tuple[Pair, ...]
    """Rows and columns of patches in each."""
    grid: Pair | None
    """Rows and columns of slices, where there are any."""


@dataclass(frozen=True, slots=True)
class SliceRecipe:
    patch: int
    """Pixels along a side of a patch."""
    merge: int
    """Patches along a side of what becomes one feature."""
    side: int
    """A whole and a slice have about the area of this square, in pixels."""
    most: int
    """Slices; at most one: the whole is all there is."""
    resample: int
    values: Values

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> "SliceRecipe":
        """From a preprocessor file, with the defaults of its processor's type. Raises `CheckpointError` for what is not
        known."""
        mode = settings.get("downsample_mode", "16x")
        if not settings.get("do_resize", True) or mode not in ("4x", "16x"):
            raise CheckpointError("The preprocessor file asks for a do_resize or a downsample_mode not known here.")
        return cls(
            patch=settings.get("patch_size", 14),
            merge=2 if mode == "4x" else 4,
            side=settings.get("scale_resolution", 448),
            most=settings.get("max_slice_nums", 9) if settings.get("slice_mode", True) else 1,
            resample=settings.get("resample", Image.Resampling.BICUBIC),
            values=Values.read(settings, HALF, HALF),
        )

    def __call__(self, size: Pair, resize: Resize) -> Sliced:
        """Of a picture of `size`. Raises `MediaError` for one too narrow to be scaled."""
        grid = self.grid(size)
        seen = [resize(self.whole_size(size, grow=grid is None))]
        if grid is not None:
            rows, columns = grid
            height, width = self.slice_size(size, grid)
            cut = resize((rows * height, columns * width)).reshape(rows, height, columns, width, 3).swapaxes(1, 2)
            seen += list(cut.reshape(-1, height, width, 3))
        return self._patched(seen, grid)

    def whole(self, pixels: np.ndarray) -> Sliced:
        """Of a picture (H, W, 3) uint8 that has the size of a whole already."""
        return self._patched([pixels], None)

    def grid(self, size: Pair) -> Pair | None:
        """About as many slices as the picture's area asks for; of grids that are as near the one with more rows."""
        shape = log(size[1] / size[0])
        wanted = min(ceil(size[0] * size[1] / self.side**2), self.most)
        if wanted <= 1:
            return None
        counts = [count for count in range(wanted - 1, wanted + 2) if 1 < count <= self.most]
        grids = [(rows, count // rows) for count in counts for rows in range(1, count + 1) if count % rows == 0]
        return min(grids, key=lambda grid: (abs(shape - log(grid[1] / grid[0])), -grid[0]), default=(1, 1))

    def whole_size(self, size: tuple[float, float], *, grow: bool) -> Pair:
        """`grow`: whether a small one is made larger. Raises `MediaError` for one too narrow to be scaled."""
        refuse_strip(size)
        height, width = size
        if grow or height * width > self.side**2:
            shape = width / height
            height = int(self.side / sqrt(shape))
            width = int(height * shape)
        return self._rounded(height, self.patch * self.merge), self._rounded(width, self.patch * self.merge)

    def slice_size(self, size: Pair, grid: Pair) -> Pair:
        height, width = (self._rounded(side, parts) / parts for side, parts in zip(size, grid, strict=True))
        return self.whole_size((height, width), grow=True)

    @staticmethod
    def _rounded(length: float, unit: int) -> int:
        return max(round(length / unit) * unit, unit)

    def _patched(self, seen: Sequence[np.ndarray], grid: Pair | None) -> Sliced:
        shapes = tuple((part.shape[0] // self.patch, part.shape[1] // self.patch) for part in seen)
        return Sliced(np.concatenate([self._patches(part) for part in seen]), shapes, grid)

    def _patches(self, pixels: np.ndarray) -> np.ndarray:
        patch = self.patch
        rows, columns = pixels.shape[0] // patch, pixels.shape[1] // patch
        blocks = self.values(pixels).reshape(3, rows, patch, columns, patch).transpose(1, 3, 2, 4, 0)
        return blocks.reshape(rows * columns, -1)
