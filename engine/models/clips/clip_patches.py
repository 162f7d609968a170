"""Clips as rows of patches: what the video processors of Qwen-VL and its relatives do with frames.

Knows nothing of prompts, nor of which frames are looked at. Sources: transformers `video_processing_qwen2_vl.py`,
`video_processing_qwen3_vl.py`, `video_processing_glm4v.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL.Image import Resampling

from engine.api.errors import CheckpointError
from engine.models.positions import Grid
from engine.models.recipes.patches import grown, in_blocks, whole_blocks
from engine.models.recipes.pictures import Pair, Values, refuse_strip
from engine.models.recipes.preprocessor import Triple

FLOOR = 1.05
"""A cap never makes frames smaller than this part of the least there may be."""


@dataclass(frozen=True, slots=True)
class ClipPatchRecipe:
    """Frames are scaled to whole blocks of `merge` x `merge` patches, within bounds on their pixels; `frames` of them
    are one step in time."""

    patch: int
    merge: int
    frames: int
    min_pixels: int
    max_pixels: int
    resample: int
    values: Values
    together: bool
    """Whether the bounds are on all frames or on each."""
    max_tokens: int | None
    """Caps the pixels of a frame further, in a way of each kind's own."""

    @classmethod
    def read(
        cls,
        settings: Mapping[str, Any],
        *,
        cut: tuple[int, int, int],
        bounds: Pair,
        mean: Triple,
        std: Triple,
        **kind: Any,
    ) -> "ClipPatchRecipe":
        """From a preprocessor file for clips; what it does not say is as given: `cut` (frames, patch, merge), the least
        and the most pixels, and of `kind` what it says of `together` and `max_tokens`."""
        if not settings.get("do_resize", True):
            raise CheckpointError("The preprocessor file wants clips that are not resized, which is not known here.")
        size = settings.get("size", {})
        capped = settings.get("cap_pixels_per_frame", False)
        return cls(
            frames=settings.get("temporal_patch_size", cut[0]),
            patch=settings.get("patch_size", cut[1]),
            merge=settings.get("merge_size", cut[2]),
            min_pixels=settings.get("min_pixels") or size.get("shortest_edge") or bounds[0],
            max_pixels=settings.get("max_pixels") or size.get("longest_edge") or bounds[1],
            resample=settings.get("resample", Resampling.BICUBIC),
            values=Values.read(settings, mean, std),
            together=kind["together"],
            max_tokens=settings.get("max_video_tokens", kind["max_tokens"]) if capped else None,
        )

    def scaled_size(self, size: Pair, count: int) -> Pair:
        """Of each of `count` frames of `size`. Raises `MediaError` for a clip too narrow to be scaled."""
        side = self.patch * self.merge
        if self.together:
            size = grown(size, side)
        refuse_strip(size, "clip")
        if not self.together:
            return whole_blocks(size, side, self.min_pixels, self._most(count))
        counted = round(count / self.frames) * self.frames
        return whole_blocks(size, side, self.min_pixels, self._most(count), count, counted)

    def _most(self, count: int) -> int:
        """Pixels of a frame, or of all `count` of them."""
        if self.max_tokens is None:
            return self.max_pixels
        tokens, floor = self.max_tokens * (self.patch * self.merge) ** 2, int(self.min_pixels * FLOOR)
        if self.together:
            return max(min(tokens, self.max_pixels // count), floor) * count
        return max(min(self.max_pixels, int(tokens * 0.9) * self.frames // count), floor)

    def __call__(self, frames: np.ndarray) -> tuple[np.ndarray, Grid]:
        """(T, H, W, 3) uint8, already scaled -> (N, 3 * frames * patch^2) float32, block by block, and how many patches
        in time, height and width. The last frame is repeated up to a whole step in time."""
        missing = -len(frames) % self.frames
        if missing:
            frames = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
        patches, grid = in_blocks(self.values(frames), self.patch, self.merge, self.frames)
        return patches.reshape(len(patches), -1), grid
