"""Pictures at their own shape, as large as a number of features allows: what Gemma 4's processors do.

Knows nothing of prompts. The numbers of transformers' `Gemma4ImageProcessorPil`, and of its torchvision relatives,
which resize clips and the pictures of the model without a tower.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor, sqrt
from typing import Any

import numpy as np
from PIL import Image

from engine.api.errors import CheckpointError
from engine.models.media.torch_resize import torch_resize
from engine.models.recipes.pictures import Pair, Values

SUPPORTED = (70, 140, 280, 560, 1120)
"""Features of a picture that the models were trained with."""

ZERO, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class PatchBudget:
    """A picture is scaled, its shape kept, to whole squares of `patch * pool` pixels, one for each feature."""

    patch: int
    """Pixels along a side of a patch."""
    pool: int
    """Patches along a side of a feature."""
    most: int
    """Features."""
    resample: int
    values: Values
    whole: bool
    """Whether the squares are not cut into patches."""
    as_torch: bool
    """Whether pictures are resized to PyTorch's numbers or Pillow's."""

    @classmethod
    def read(
        cls, settings: Mapping[str, Any], cut: tuple[int, int], most: int, *, whole: bool, as_torch: bool
    ) -> "PatchBudget":
        """From a preprocessor file; what it does not say is as given: `cut` (patch, pool) and the most features.
        Raises `CheckpointError` for a number of them that the models do not know."""
        if not settings.get("do_resize", True):
            raise CheckpointError("The preprocessor file wants pictures that are not resized, which is not known here.")
        if (most := settings.get("max_soft_tokens", most)) not in SUPPORTED:
            raise CheckpointError(f"The preprocessor file asks for {most} features; known are {SUPPORTED}.")
        return cls(
            patch=settings.get("patch_size", cut[0]),
            pool=settings.get("pooling_kernel_size", cut[1]),
            most=most,
            resample=settings.get("resample", Image.Resampling.BICUBIC),
            values=Values.read({"do_normalize": False} | settings, ZERO, ONE),
            whole=whole,
            as_torch=as_torch,
        )

    @property
    def side(self) -> int:
        """Of what is cut, in pixels."""
        return self.patch * self.pool if self.whole else self.patch

    def features(self, grid: Pair) -> int:
        """Of a picture that is cut into `grid` rows and columns."""
        return grid[0] * grid[1] * self.side**2 // (self.patch * self.pool) ** 2

    def __call__(self, picture: Image.Image) -> tuple[np.ndarray, Pair]:
        """RGB -> (1, N, side^2 * 3) float32, row by row, and how many rows and columns."""
        size = self.scaled_size((picture.height, picture.width))
        if self.as_torch:
            return self.cut(torch_resize(np.asarray(picture), size, self.resample)[None])
        return self.cut(np.asarray(picture.resize(size[::-1], self.resample))[None])

    def scaled_size(self, size: Pair) -> Pair:
        """A strip becomes one row or column of squares, as long as the budget allows."""
        square = self.patch * self.pool
        scale = sqrt(self.most * square**2 / (size[0] * size[1]))
        rows, columns = (floor(scale * length / square) for length in size)
        if rows == 0:
            rows, columns = 1, min(size[1] // size[0], self.most)
        elif columns == 0:
            rows, columns = min(size[0] // size[1], self.most), 1
        return rows * square, columns * square

    def cut(self, frames: np.ndarray) -> tuple[np.ndarray, Pair]:
        """(T, H, W, 3) uint8, already scaled -> (T, N, side^2 * 3) float32 and how many rows and columns."""
        pixels = self.values(frames)
        rows, columns = (length // self.side for length in pixels.shape[2:])
        patches = pixels.reshape(len(frames), 3, rows, self.side, columns, self.side).transpose(0, 2, 4, 3, 5, 1)
        return np.ascontiguousarray(patches.reshape(len(frames), rows * columns, -1)), (rows, columns)
