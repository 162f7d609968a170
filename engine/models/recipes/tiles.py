"""A large picture as tiles of one size and a small copy of the whole, and how a prompt shows where each belongs.

Knows nothing of pixel values. Gives the tiles of transformers' Idefics3 and SmolVLM processors
(`image_processing_pil_idefics3.py`, `processing_idefics3.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from PIL import Image

LONGEST = 4096
"""No picture is scaled up beyond this."""

Pair = tuple[int, int]
"""Height and width, or rows and columns."""


@dataclass(frozen=True, slots=True)
class TileRecipe:
    longest_edge: int | None
    """The picture is first scaled to this, up or down; `None` takes it as it is."""
    side: int
    """Of a tile, in pixels."""
    split: bool
    """Whether there are tiles besides the whole."""
    resample: int

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> "TileRecipe":
        """From a preprocessor file, with the defaults of its processor's type."""
        longest = settings.get("size", {}).get("longest_edge", 4 * 364) if settings.get("do_resize", True) else None
        return cls(
            longest_edge=longest,
            side=settings.get("max_image_size", {}).get("longest_edge", 364),
            split=settings.get("do_image_splitting", True),
            resample=settings.get("resample", Image.Resampling.LANCZOS),
        )

    def __call__(self, picture: Image.Image) -> tuple[np.ndarray, Pair]:
        """RGB -> tiles (N, side, side, 3) uint8, row by row and then the whole, and how many rows and columns: (0, 0)
        if the whole is all there is."""
        side = self.side
        if self.longest_edge is not None:
            picture = self._scaled(picture, scaled_size((picture.height, picture.width), self.longest_edge))
        if not self.split:
            return np.asarray(self._scaled(picture, (side, side)))[None], (0, 0)
        picture = self._scaled(picture, covering_size((picture.height, picture.width), side))
        rows, columns = picture.height // side, picture.width // side
        if rows == columns == 1:
            return np.asarray(picture)[None], (0, 0)
        cut = np.asarray(picture).reshape(rows, side, columns, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
        whole = np.asarray(self._scaled(picture, (side, side)))
        return np.concatenate([cut, whole[None]]), (rows, columns)

    def _scaled(self, picture: Image.Image, size: Pair) -> Image.Image:
        return picture.resize((size[1], size[0]), self.resample)


def scaled_size(size: Pair, longest: int) -> Pair:
    """The longer side becomes `longest`, the other follows, rounded up to an even number."""
    height, width = size
    ratio = width / height
    if width >= height:
        height, width = _even(int(longest / ratio)), longest
    else:
        height, width = longest, _even(int(longest * ratio))
    ratio = width / max(height, 1)
    if width >= height and width > LONGEST:
        height, width = int(LONGEST / ratio), LONGEST
    elif height > LONGEST:
        height, width = LONGEST, int(LONGEST * ratio)
    return max(height, 1), max(width, 1)


def _even(length: int) -> int:
    return length + length % 2


def covering_size(size: Pair, side: int) -> Pair:
    """Whole tiles: the longer side is rounded up to them, the other follows and is rounded up too."""
    height, width = size
    ratio = width / height
    if width >= height:
        width = ceil(width / side) * side
        return ceil(int(width / ratio) / side) * side, width
    height = ceil(height / side) * side
    return height, ceil(int(height * ratio) / side) * side


def expansion(grid: Pair, features: int) -> str:
    """What stands in the prompt for a picture of `grid` tiles that give `features` each."""
    marks = "<image>" * features
    rows = (
        "".join(f"<fake_token_around_image><row_{row + 1}_col_{column + 1}>{marks}" for column in range(grid[1])) + "\n"
        for row in range(grid[0])
    )
    break_before_whole = "\n" if grid != (0, 0) else ""
    whole = f"{break_before_whole}<fake_token_around_image><global-img>{marks}<fake_token_around_image>"
    return "".join(rows) + whole
