"""Pictures at their own shape, and clips of which a few frames at a time are looked at, with the time before each.

Knows no tower and no decoder. Source: transformers `processing_kimi_k25.py`, `video_processing_kimi_k25.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from time import gmtime, strftime

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from engine.api.events import Modality
from engine.models.base import PreparedMedia
from engine.models.clips.frame_sampling import EvenParts
from engine.models.clips.plan import ClipFacts, ClipPlan, ClipWish
from engine.models.media.torch_resize import torch_resize
from engine.models.positions import Grid
from engine.models.recipes.bordered import BorderedRecipe
from engine.models.recipes.pictures import fingerprint

PICTURE, CLIP = "<|media_pad|>", "<|kimi_k25_video_placeholder|>"
START, END = "<|media_begin|>video<|media_content|>", "<|media_end|>"

FPS = 2
"""Of the frames that are looked at, where no file says it."""


@dataclass(frozen=True, slots=True)
class GroupedMedia:
    """What pictures and clips have in common."""

    marker: str
    slot_id: int
    recipe: BorderedRecipe

    def _features(self, grid: Grid) -> int:
        """Of one group of frames, however many they are."""
        return grid[1] * grid[2] // self.recipe.merge**2

    def _arrays(self, parts: Sequence[tuple[np.ndarray, Grid]]) -> dict[str, np.ndarray]:
        patches, grids = zip(*parts, strict=True)
        return {"pixel_values": np.concatenate(patches), "grids": np.array(grids)}


@dataclass(frozen=True, slots=True)
class PictureProcessor(GroupedMedia):
    def prepare(self, picture: Image.Image, digest: str) -> PreparedMedia:
        size = self.recipe.scaled_size((picture.height, picture.width))
        patches, grid = self.recipe(torch_resize(np.asarray(picture), size, self.recipe.resample)[None])
        return PreparedMedia(
            modality=Modality.IMAGE,
            arrays=self._arrays([(patches, grid)]),
            expansion=self.marker * self._features(grid),
            feature_count=self._features(grid),
            digest=fingerprint(digest, self.recipe),
        )


@dataclass(frozen=True, slots=True)
class ClipGroupsProcessor(GroupedMedia):
    group: int
    """Frames that are looked at together; the last ones may be fewer."""
    sampling: EvenParts

    def plan(self, facts: ClipFacts, wish: ClipWish) -> ClipPlan:
        size = self.recipe.scaled_size(facts.size)
        return ClipPlan(tuple(self.sampling(facts, wish)), size, Resampling(self.recipe.resample))

    def prepare(self, frames: np.ndarray, facts: ClipFacts, plan: ClipPlan, digest: str) -> PreparedMedia:
        firsts = range(0, len(frames), self.group)
        parts = [self.recipe(frames[first : first + self.group]) for first in firsts]
        features = self._features(parts[0][1])
        moments = [clock(plan.indices[first] / facts.fps) for first in firsts]
        return PreparedMedia(
            modality=Modality.VIDEO,
            arrays=self._arrays(parts),
            expansion="".join(f"{moment}{START}{self.marker * features}{END}" for moment in moments),
            feature_count=features * len(parts),
            digest=fingerprint(digest, self.recipe),
        )


def sampling(settings: dict) -> EvenParts:
    """From a preprocessor file for clips; there may be any number of frames."""
    return EvenParts(settings.get("fps", FPS), settings.get("num_frames"), least=1, most=inf, group=1)


def clock(seconds: float) -> str:
    """Such as 00:01:02.500"""
    return strftime("%H:%M:%S", gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}"
