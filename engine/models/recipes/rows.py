"""A picture at its own shape, its sides whole patches, and its rows told apart in the prompt: Pixtral's way.

Knows nothing of towers. The numbers of transformers' `PixtralImageProcessorPil`, the words of its `PixtralProcessor`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np
from PIL import Image

from engine.api.errors import CheckpointError, MediaError
from engine.api.events import Modality
from engine.models.base import PreparedMedia
from engine.models.recipes.pictures import Pair, Values, fingerprint
from engine.models.recipes.preprocessor import CLIP_MEAN, CLIP_STD

MARKER, BREAK, END = "[IMG]", "[IMG_BREAK]", "[IMG_END]"


@dataclass(frozen=True, slots=True)
class RowRecipe:
    """A picture is shrunk until it fits `room`, and then stretched to whole blocks of `side` x `side` pixels."""

    room: Pair
    side: int
    resample: int
    values: Values

    @classmethod
    def read(cls, settings: Mapping[str, Any], side: int, longest: int) -> "RowRecipe":
        """From a preprocessor file; `longest` for one that names no size. Its `patch_size` is not read, as the
        reference's processor overrules it by what the tower cuts, `side`."""
        if not settings.get("do_resize", True) or settings.get("do_center_crop"):
            raise CheckpointError("The preprocessor file wants pictures cropped or not resized, not known here.")
        size = settings.get("size", {"longest_edge": longest})
        size = {"longest_edge": size} if isinstance(size, int) else size
        longest = size.get("longest_edge")
        room = (longest, longest) if longest else (size.get("height"), size.get("width"))
        if None in room:
            raise CheckpointError(f"The preprocessor file asks for pictures of the size {dict(size)}, unknown here.")
        resample = settings.get("resample", Image.Resampling.BICUBIC)
        return cls(room, side, resample, Values.read(settings, CLIP_MEAN, CLIP_STD))

    def __call__(self, picture: Image.Image) -> np.ndarray:
        """RGB -> (3, H, W) float32. Raises `MediaError` for a picture too narrow to be scaled."""
        height, width = self.scaled_size((picture.height, picture.width))
        return self.values(np.asarray(picture.resize((width, height), self.resample)))

    def scaled_size(self, size: Pair) -> Pair:
        ratio = max(1.0, *(length / most for length, most in zip(size, self.room, strict=True)))
        height, width = (ceil(floor(length / ratio) / self.side) * self.side for length in size)
        if not height or not width:
            raise MediaError(
                f"The picture is {size[1]} x {size[0]} pixels: once its length fits the model, no width is left.",
                "Crop it to what matters.",
            )
        return height, width


@dataclass(frozen=True, slots=True)
class RowProcessor:
    """A marker for each block, and words behind each row."""

    slot_id: int
    recipe: RowRecipe
    marker: str = MARKER

    def prepare(self, picture: Image.Image, digest: str) -> PreparedMedia:
        pixels = self.recipe(picture)
        rows, columns = (length // self.recipe.side for length in pixels.shape[1:])
        return PreparedMedia(
            modality=Modality.IMAGE,
            arrays={"pixel_values": pixels[None]},
            expansion=BREAK.join([MARKER * columns] * rows) + END,
            feature_count=rows * columns,
            digest=fingerprint(digest, self.recipe),
        )
