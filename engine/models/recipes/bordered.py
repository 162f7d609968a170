"""A picture or frame at its own shape, only ever made smaller, with black below and at the right up to whole blocks.

Knows nothing of prompts. Gives the patches of transformers' `Kimi_K25ImageProcessor` and `Kimi_K25VideoProcessor`
(`image_processing_kimi_k25.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from PIL.Image import Resampling

from engine.api.errors import CheckpointError
from engine.models.positions import Grid
from engine.models.recipes.pictures import Pair, Values
from engine.models.recipes.preprocessor import HALF


@dataclass(frozen=True, slots=True)
class BorderedRecipe:
    patch: int
    """Pixels along a side of a patch."""
    merge: int
    """Patches along a side of a block."""
    most: int
    """Patches of a picture or frame."""
    longest: int
    """Side, in patches."""
    resample: int
    values: Values

    @classmethod
    def read(cls, settings: Mapping[str, Any], most: int) -> "BorderedRecipe":
        """From a preprocessor file, with the defaults of its processor's type; `most` patches if it does not say."""
        size = settings.get("size", {"max_height": 512, "max_width": 512})
        longest = set(size.values()) if size.keys() == {"max_height", "max_width"} else set()
        if not settings.get("do_resize", True) or len(longest) != 1:
            raise CheckpointError(f"The preprocessor file asks for pictures of the size {dict(size)}, unknown here.")
        return cls(
            patch=settings.get("patch_size", 14),
            merge=settings.get("merge_size", 2),
            most=settings.get("max_patches", most),
            longest=longest.pop(),
            resample=settings.get("resample", Resampling.BICUBIC),
            values=Values.read(settings, HALF, HALF),
        )

    def scaled_size(self, size: Pair) -> Pair:
        height, width = size
        patches = max(1, height // self.patch) * max(1, width // self.patch)
        room = self.longest * self.patch
        scale = min(1.0, sqrt(self.most / patches), room / height, room / width)
        return min(max(1, int(height * scale)), room), min(max(1, int(width * scale)), room)

    def __call__(self, frames: np.ndarray) -> tuple[np.ndarray, Grid]:
        """(T, H, W, 3) uint8, already scaled -> (N, 3 * patch^2) float32, row by row, and how many patches in time,
        height and width."""
        block = self.patch * self.merge
        border = [(0, -side % block) for side in frames.shape[1:3]]
        pixels = self.values(np.pad(frames, [(0, 0), *border, (0, 0)]))
        count, _, height, width = pixels.shape
        grid = (count, height // self.patch, width // self.patch)
        patches = pixels.reshape(count, 3, grid[1], self.patch, grid[2], self.patch).transpose(0, 2, 4, 1, 3, 5)
        return patches.reshape(-1, 3 * self.patch**2), grid
