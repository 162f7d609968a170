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
from engine.models.positions import Grid
from engine.models.recipes.pictures import Pair, Values, refuse_strip
from engine.models.recipes.preprocessor import CLIP_MEAN, CLIP_STD


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
        patches, grid = in_blocks(pixels[None], self.patch, self.merge)
        return np.repeat(patches, self.frames, axis=2).reshape(len(patches), -1), grid

    def scaled_size(self, size: Pair) -> Pair:
        refuse_strip(size)
        return whole_blocks(size, self.patch * self.merge, self.min_pixels, self.max_pixels)


def grown(size: Pair, side: int) -> Pair:
    """`size`, scaled up where its shorter side is less than `side`."""
    if min(size) >= side:
        return size
    scale = max(side / size[0], side / size[1])
    return int(size[0] * scale), int(size[1] * scale)


def whole_blocks(size: Pair, side: int, least: int, most: int, frames: int = 1, counted: int | None = None) -> Pair:
    """What `frames` frames of `size` are scaled to: whole blocks of `side`, and between `least` and `most` pixels over
    all of them. `counted`: how many frames there seem to be when that is looked at (transformers `smart_resize`)."""
    height, width = size
    rows, columns = round(height / side), round(width / side)
    pixels = (counted or frames) * rows * columns * side**2
    if pixels > most:
        shrink = sqrt(frames * height * width / most)
        rows, columns = max(1, floor(height / shrink / side)), max(1, floor(width / shrink / side))
    elif pixels < least:
        grow = sqrt(least / (frames * height * width))
        rows, columns = ceil(height * grow / side), ceil(width * grow / side)
    return rows * side, columns * side


def in_blocks(pixels: np.ndarray, patch: int, merge: int, frames: int = 1) -> tuple[np.ndarray, Grid]:
    """(T, 3, H, W), T a multiple of `frames` -> (N, 3, frames, patch^2), block by block of `merge` x `merge` patches,
    and how many patches in time, height and width."""
    count, channels, height, width = pixels.shape
    grid = (count // frames, height // patch, width // patch)
    blocks = pixels.reshape(
        grid[0], frames, channels, grid[1] // merge, merge, patch, grid[2] // merge, merge, patch
    ).transpose(0, 3, 6, 4, 7, 2, 1, 5, 8)
    return blocks.reshape(-1, channels, frames, patch**2), grid
