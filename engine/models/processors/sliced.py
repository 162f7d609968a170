"""Pictures and clips as a whole and slices of it, and the words around them that MiniCPM-V (4.6) reads.

Knows no tower and no decoder. Sources: transformers `processing_minicpmv4_6.py`, `video_processing_minicpmv4_6.py`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from math import ceil

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from engine.api.events import Modality
from engine.models.base import PreparedMedia
from engine.models.clips.plan import ClipFacts, ClipPlan, ClipWish
from engine.models.media.torch_resize import torch_resize
from engine.models.recipes.pictures import Pair, fingerprint
from engine.models.recipes.slices import Sliced, SliceRecipe

PICTURE, CLIP = "<|image_pad|>", "<|video_pad|>"

UNNUMBERED = {PICTURE: "<image_id>\0</image_id>", CLIP: "<image_id>\1</image_id>"}
"""Until it is known which picture of the prompt it is, or which clip."""

MOMENTS = 10
"""A second of a clip too long for a frame each second."""


def numbered(prompt: str) -> str:
    """Pictures and clips are each counted from 0."""
    for mark in UNNUMBERED.values():
        numbers = count()
        prompt = re.sub(mark, lambda _, numbers=numbers: f"<image_id>{next(numbers)}</image_id>", prompt)
    return prompt


def _words(slot: str, counts: Sequence[int], grid: Pair | None) -> str:
    """What stands for a picture, or a frame, whose parts give so many features each."""
    whole = f"<image>{slot * counts[0]}</image>"
    columns = grid[1] if grid else 1
    slices = [f"<slice>{slot * features}</slice>" for features in counts[1:]]
    rows = ["".join(slices[first : first + columns]) for first in range(0, len(slices), columns)]
    return whole + "\n".join(rows)


@dataclass(frozen=True, slots=True)
class SlicedMedia:
    """What pictures and clips have in common."""

    marker: str
    slot_id: int
    recipe: SliceRecipe
    has_number: bool

    def _prepared(self, modality: Modality, seen: Sequence[Sliced], digest: str) -> PreparedMedia:
        words, counts = [], []
        for sliced in seen:
            features = [rows * columns // self.recipe.merge**2 for rows, columns in sliced.shapes]
            words.append(_words(self.marker, features, sliced.grid))
            counts += features
        return PreparedMedia(
            modality=modality,
            arrays={
                "pixel_values": np.concatenate([sliced.patches for sliced in seen]),
                "shapes": np.array([shape for sliced in seen for shape in sliced.shapes]),
            },
            expansion=(UNNUMBERED[self.marker] if self.has_number else "") + "".join(words),
            feature_count=sum(counts),
            digest=fingerprint(digest, self.recipe),
            finish=numbered,
        )


@dataclass(frozen=True, slots=True)
class SlicedPictureProcessor(SlicedMedia):
    def prepare(self, picture: Image.Image, digest: str) -> PreparedMedia:
        def resize(size: Pair) -> np.ndarray:
            return np.asarray(picture.resize(size[::-1], self.recipe.resample))

        sliced = self.recipe((picture.height, picture.width), resize)
        return self._prepared(Modality.IMAGE, [sliced], digest)


@dataclass(frozen=True, slots=True)
class SlicedClipProcessor(SlicedMedia):
    """Each frame is a picture of its own."""

    most_frames: int

    def plan(self, facts: ClipFacts, wish: ClipWish) -> ClipPlan:
        """A frame each second; of a longer clip as many as there may be, evenly."""
        # Slices are cut from the frame as it is, so it cannot be scaled as it is read.
        size = facts.size if self.recipe.most > 1 else self.recipe.whole_size(facts.size, grow=True)
        indices = frames_by_second(facts, wish.fps or 1.0, wish.max_frames or self.most_frames)
        return ClipPlan(tuple(indices), size, Resampling(self.recipe.resample))

    def prepare(self, frames: np.ndarray, facts: ClipFacts, plan: ClipPlan, digest: str) -> PreparedMedia:
        seen = [self._sliced(frame) for frame in frames]
        return self._prepared(Modality.VIDEO, seen, digest)

    def _sliced(self, frame: np.ndarray) -> Sliced:
        if self.recipe.most <= 1:
            return self.recipe.whole(frame)
        return self.recipe(frame.shape[:2], lambda size: torch_resize(frame, size, self.recipe.resample))


def frames_by_second(facts: ClipFacts, wanted: float, most: int) -> list[int]:
    """`wanted` frames a second, or, where these were too many, `most` of those ten times a second."""
    # Rounded, lest a whole number of frames a second fall short of it by the last bit.
    rate, duration = round(facts.fps, 9), round(facts.duration, 9)
    if duration * wanted <= most:
        moments = np.arange(ceil(duration * wanted)) / wanted
    else:
        moments = np.arange(int(duration / (1 / MOMENTS))) / MOMENTS
    indices = np.minimum((moments * rate).astype(int), facts.count - 1)
    if len(indices) > most:
        indices = indices[np.linspace(0, len(indices) - 1, most, dtype=int)]
    return indices.tolist()
