"""Pictures of any shape as rows of patches: what Qwen2-VL's image processor does, and its descendants'.

Knows nothing of prompts. The numbers of transformers' `Qwen2VLImageProcessorPil`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor, sqrt
from typing import Any

import numpy as np
from PIL import Image

from engine.api.errors import CheckpointError
from engine.models.pictures import Pair, Values, refuse_strip
from engine.models.positions import Grid
from engine.models.preprocessor import CLIP_MEAN, CLIP_STD


@dataclass(frozen=True, slots=True)
class PatchRecipe:
    """A picture is scaled to whole blocks of `merge` x `merge` patches, within bounds on its area."""

    patch: int
    """Pixels along a side of a patch."""
    merge: int
    frames: int
    """How often a picture is repeated, to be as long as the shortest clip."""
    min_pixels: int
    max_pixels: int
    resample: int
    values: Values

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> "PatchRecipe":
        """From a preprocessor file, in any of the three ways in which they bound the area."""
        if not settings.get("do_resize", True):
            raise CheckpointError("The preprocessor file wants pictures that are not resized, which is not known here.")
        size = settings.get("size", {})
        return cls(
            patch=settings.get("patch_size", 14),
            merge=settings.get("merge_size", 2),
            frames=settings.get("temporal_patch_size", 2),
            min_pixels=settings.get("min_pixels") or size.get("shortest_edge") or size.get("min_pixels") or 56 * 56,
            max_pixels=settings.get("max_pixels")
            or size.get("longest_edge")
            or size.get("max_pixels")
            or 28 * 28 * 1280,
            resample=settings.get("resample", Image.Resampling.BICUBIC),
            values=Values.read(settings, CLIP_MEAN, CLIP_STD),
        )

    def __call__(self, picture: Image.Image) -> tuple[np.ndarray, Grid]:
        """RGB -> (N, 3 * frames * patch^2) float32, block by block, and how many patches in time, height and width.
        Raises `MediaError` for a picture too narrow to be scaled."""
        height, width = self.scaled_size((picture.height, picture.width))
        pixels = self.values(np.asarray(picture.resize((width, height), self.resample)))
        rows, columns = height // self.patch, width // self.patch
        merge = self.merge
        blocks = pixels.reshape(3, rows // merge, merge, self.patch, columns // merge, merge, self.patch)
        patches = blocks.transpose(1, 4, 2, 5, 0, 3, 6).reshape(rows * columns, 3, 1, self.patch**2)
        return np.repeat(patches, self.frames, axis=2).reshape(rows * columns, -1), (1, rows, columns)

    def scaled_size(self, size: Pair) -> Pair:
        refuse_strip(size)
        height, width = size
        side = self.patch * self.merge
        rows, columns = round(height / side), round(width / side)
        if rows * columns * side**2 > self.max_pixels:
            shrink = sqrt(height * width / self.max_pixels)
            rows, columns = max(1, floor(height / shrink / side)), max(1, floor(width / shrink / side))
        elif rows * columns * side**2 < self.min_pixels:
            grow = sqrt(self.min_pixels / (height * width))
            rows, columns = ceil(height * grow / side), ceil(width * grow / side)
        return rows * side, columns * side
