"""A picture at its own shape within bounds on its sides, and its quarters before it where that is asked for.

Knows nothing of patches. Gives the pixels of transformers' `Idefics2ImageProcessorPil`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from engine.api.errors import CheckpointError
from engine.models.recipes.pictures import Pair, Values
from engine.models.recipes.preprocessor import HALF


@dataclass(frozen=True, slots=True)
class NativeAspectRecipe:
    shortest: int
    longest: int
    """Of a side, in pixels. A picture that is too narrow for both is stretched."""
    quartered: bool
    resample: int
    values: Values

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> "NativeAspectRecipe":
        """From a preprocessor file, with the defaults of its processor's type."""
        size = settings.get("size", {"shortest_edge": 378, "longest_edge": 980})
        if not settings.get("do_resize", True) or not size.keys() >= {"shortest_edge", "longest_edge"}:
            raise CheckpointError(f"The preprocessor file asks for pictures of the size {dict(size)}, unknown here.")
        return cls(
            shortest=size["shortest_edge"],
            longest=size["longest_edge"],
            quartered=settings.get("do_image_splitting", False),
            resample=settings.get("resample", Image.Resampling.BILINEAR),
            values=Values.read(settings, HALF, HALF),
        )

    def __call__(self, picture: Image.Image) -> tuple[np.ndarray, list[Pair]]:
        """RGB -> (N, 3, H, W) float32 and the height and width of what is shown in each, from its corner on: one, or
        four quarters and the whole."""
        seen = [self._scaled(part) for part in (*self._quarters(picture), picture)]
        sizes = [(part.height, part.width) for part in seen]
        height, width = (max(sides) for sides in zip(*sizes, strict=True))
        pixels = np.zeros((len(seen), 3, height, width), np.float32)
        for row, part in zip(pixels, seen, strict=True):
            row[:, : part.height, : part.width] = self.values(np.asarray(part))
        return pixels, sizes

    def _quarters(self, picture: Image.Image) -> list[Image.Image]:
        if not self.quartered:
            return []
        width, height = picture.size
        columns, rows = ((0, width // 2, width), (0, height // 2, height))
        return [
            picture.crop((columns[column], rows[row], columns[column + 1], rows[row + 1]))
            for row in range(2)
            for column in range(2)
        ]

    def _scaled(self, picture: Image.Image) -> Image.Image:
        height, width = self.scaled_size((picture.height, picture.width))
        return picture.resize((width, height), self.resample)

    def scaled_size(self, size: Pair) -> Pair:
        height, width = size
        shape = width / height
        if width >= height and width > self.longest:
            height, width = int(self.longest / shape), self.longest
        elif height > width and height > self.longest:
            height, width = self.longest, int(self.longest * shape)
        return max(height, self.shortest), max(width, self.shortest)
