"""A picture as windows cut from it, if it is large or long, and as one small copy of the whole: Step 3.7's way.

Knows nothing of towers. Source: transformers `image_processing_step3p7.py`, whose numbers are torchvision's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from engine.api.errors import CheckpointError
from engine.models.media.torch_resize import torch_resize
from engine.models.recipes.pictures import Pair, Values, refuse_strip
from engine.models.recipes.preprocessor import CLIP_MEAN, CLIP_STD

THIN, LONG, STRETCHED = 32, 4, 1.5
"""Pixels of a side that is too thin for a long picture; how much longer the other side of such a picture is, and of one
that is cut though it is small."""

REST = 0.2
"""Of a window: more than this is given a window of its own."""


@dataclass(frozen=True, slots=True)
class Plan:
    whole: Pair
    """What the picture is scaled to before it becomes a square."""
    cut: Pair
    """What it is scaled to before windows are cut from it."""
    window: int
    """0 for none."""

    @property
    def grid(self) -> Pair:
        """Rows and columns of windows."""
        if not self.window:
            return 0, 0
        return max(1, self.cut[0] // self.window), max(1, self.cut[1] // self.window)


@dataclass(frozen=True, slots=True)
class WindowRecipe:
    whole: int
    """Side of the small copy, in pixels."""
    window: int
    """Side of a window, once it is scaled."""
    longest: int
    """A larger picture is made this long first."""
    resample: int
    values: Values

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> "WindowRecipe":
        """From a preprocessor file, with the defaults of its processor's type."""
        size = settings.get("size", {"height": 728, "width": 728})
        if size.get("height", 0) < 1 or size.get("height") != size.get("width"):
            raise CheckpointError(f"The preprocessor file asks for pictures of the size {dict(size)}, unknown here.")
        return cls(
            whole=size["height"],
            window=settings.get("patch_size", 504),
            longest=settings.get("max_image_size", 3024),
            resample=settings.get("resample", Resampling.BILINEAR),
            values=Values.read(settings, CLIP_MEAN, CLIP_STD),
        )

    def __call__(self, picture: Image.Image) -> tuple[np.ndarray, np.ndarray, Pair]:
        """RGB -> the whole (1, 3, H, W) and its windows (N, 3, h, w), float32, row by row, and how many rows and
        columns of them. Raises `MediaError` for a picture too narrow."""
        pixels = np.asarray(picture)
        if is_extreme(pixels.shape[:2]):
            pixels = np.pad(pixels, [*((0, max(pixels.shape) - side) for side in pixels.shape[:2]), (0, 0)])
        refuse_strip(pixels.shape[:2])
        plan = self.plan(pixels.shape[:2])
        whole = self._scaled(self._scaled(pixels, plan.whole), (self.whole, self.whole))
        windows = np.empty((0, self.window, self.window, 3), np.uint8)
        if plan.window:
            cut, side = self._scaled(pixels, plan.cut), plan.window
            windows = np.stack(
                [
                    self._scaled(cut[top : top + side, left : left + side], (self.window, self.window))
                    for top in range(0, cut.shape[0], side)
                    for left in range(0, cut.shape[1], side)
                ]
            )
        return self.values(whole[None]), self.values(windows), plan.grid

    def plan(self, size: Pair) -> Plan:
        """Of a picture of `size` that is not extreme."""
        if max(size) > self.longest:
            scale = self.longest / max(size)
            size = int(size[0] * scale), int(size[1] * scale)
        short, long = min(size), max(size)
        if long <= self.whole:
            window = short if long / short > STRETCHED else 0
        else:
            window = min(short, self.window) if long / short > LONG else self.window
        return Plan(size, (_snapped(size[0], window), _snapped(size[1], window)), window)

    def _scaled(self, pixels: np.ndarray, size: Pair) -> np.ndarray:
        return torch_resize(pixels, size, self.resample)


def is_extreme(size: Pair) -> bool:
    """Whether a picture is too thin for its length: it becomes a square, black at the right or below."""
    return min(size) < THIN and max(size) / min(size) > LONG


def _snapped(length: int, window: int) -> int:
    """To whole windows."""
    if not window or length < window:
        return length
    return window * (length // window + (length % window > REST * window))
