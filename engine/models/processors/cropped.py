"""Pictures as overlapping crops and clips as squares, made ready for a tower, and Molmo 2's words for both.

Knows no tower and no decoder. Sources: transformers `processing_molmo2.py`, `video_processing_molmo2.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import PreparedMedia
from engine.models.clips.plan import ClipFacts, ClipPlan, ClipWish
from engine.models.recipes.overlapping_crops import CropRecipe, WholeRecipe, pooled
from engine.models.recipes.pictures import Pair, fingerprint


@dataclass(frozen=True, slots=True)
class Words:
    """What stands around features, and the token that stands for one."""

    slot: ClassVar[str] = "<im_patch>"

    slot_id: int
    row_end: str
    """Behind each row of a picture's crops."""
    whole_row_end: str
    """Of the small copy."""
    frame_row_end: str
    whole_start: str
    frame: Pair
    """Before a frame's features and behind them."""

    @classmethod
    def read(cls, settings: Mapping[str, Any], slot_id: int) -> "Words":
        """From what a `processor_config.json` says for itself, as transformers' `Molmo2Processor` takes it."""
        ends = settings.get("image_use_col_tokens", True)
        whole_ends = settings.get("use_single_crop_col_tokens")
        return cls(
            slot_id=slot_id,
            row_end=_column(ends),
            whole_row_end=_column(ends if whole_ends is None else whole_ends),
            frame_row_end=_column(settings.get("video_use_col_tokens", False)),
            whole_start="<low_res_im_start>" if settings.get("use_single_crop_start_token", True) else "<im_start>",
            frame=("<frame_start>", "<frame_end>")
            if settings.get("use_frame_special_tokens", True)
            else ("<im_start>", "<im_end>"),
        )

    def for_picture(self, whole: Pair, crops: Pair) -> str:
        """`whole` and `crops` are rows and columns of features."""
        first = self._laid(whole, self.whole_start, self.whole_row_end, "<im_end>")
        return first + self._laid(crops, "<im_start>", self.row_end, "<im_end>")

    def for_clip(self, seconds: np.ndarray, frame: Pair) -> str:
        """When each frame is shown (T,), and how many rows and columns of features it has."""
        start, end = self.frame
        features = self._laid(frame, start, self.frame_row_end, end)
        return " ".join(f"{second:.1f} {features}" for second in seconds)

    def _laid(self, grid: Pair, start: str, row_end: str, end: str) -> str:
        return start + (self.slot * grid[1] + row_end) * grid[0] + end


def _column(wanted: bool) -> str:
    return "<im_col>" if wanted else ""


class CroppedPictureProcessor:
    marker = "<|image|>"

    def __init__(self, words: Words, recipe: CropRecipe) -> None:
        self.slot_id = words.slot_id
        self._words = words
        self._recipe = recipe

    def prepare(self, picture: Image.Image, digest: str) -> PreparedMedia:
        pixels, grids = self._recipe(np.asarray(picture))
        features = np.concatenate([grid.reshape(-1, grid.shape[2]) for grid in grids])
        return PreparedMedia(
            modality=Modality.IMAGE,
            arrays={"pixel_values": pixels, "pooled": features},
            expansion=self._words.for_picture(*(grid.shape[:2] for grid in grids)),
            feature_count=len(features),
            digest=fingerprint(digest, self._recipe, self._words),
        )


@dataclass(frozen=True, slots=True)
class SquareClipProcessor:
    """Frames at even steps, each squeezed to one square: at most `most`, and at most `rate` a second."""

    marker: ClassVar[str] = "<|video|>"

    words: Words
    recipe: WholeRecipe
    most: int
    rate: float
    fps: float | None

    @classmethod
    def read(cls, settings: Mapping[str, Any], words: Words, recipe: WholeRecipe) -> "SquareClipProcessor":
        """From a preprocessor file for clips. Raises `CheckpointError` for one that contradicts itself."""
        fps, most = settings.get("fps"), settings.get("num_frames")
        if fps is not None and most is not None:
            raise CheckpointError("The clips' preprocessor file says both num_frames and fps; only one can be.")
        return cls(words, recipe, 64 if most is None else most, settings.get("max_fps", 2), fps)

    @property
    def slot_id(self) -> int:
        return self.words.slot_id

    def plan(self, facts: ClipFacts, wish: ClipWish) -> ClipPlan:
        side = self.recipe.side
        return ClipPlan(tuple(self._indices(facts, wish)), (side, side), Resampling.BILINEAR, antialias=False)

    def _indices(self, facts: ClipFacts, wish: ClipWish) -> list[int]:
        fps = wish.fps or self.fps
        if fps is not None:
            count = int(facts.duration * fps)
        else:
            count = min(self.most, int(facts.duration * self.rate)) if facts.fps > self.rate else self.most
        count = max(min(count, facts.count, wish.max_frames or facts.count), 1)
        step = facts.count / count
        # PyTorch counts the steps in float64 and keeps them in float32.
        return (np.arange(ceil(facts.count / step)) * step).astype(np.float32).astype(int).tolist()

    def prepare(self, frames: np.ndarray, facts: ClipFacts, plan: ClipPlan, digest: str) -> PreparedMedia:
        grid = pooled(self.recipe.grid, self.recipe.pool)
        return PreparedMedia(
            modality=Modality.VIDEO,
            arrays={"pixel_values": self.recipe.values(frames), "pooled": grid.reshape(-1, grid.shape[2])},
            expansion=self.words.for_clip(np.array(plan.indices) / facts.fps, grid.shape[:2]),
            feature_count=len(frames) * grid.shape[0] * grid.shape[1],
            digest=fingerprint(digest, self.recipe, self.words),
        )
