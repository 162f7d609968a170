"""A picture, or each frame of a clip, between two marks in the prompt; a frame after the moment at which it is shown.

Knows nothing of towers. The words of transformers' `Gemma4Processor`.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from engine.api.events import Modality
from engine.models.base import PreparedMedia
from engine.models.clips.frame_sampling import Sampling
from engine.models.clips.plan import ClipFacts, ClipPlan, ClipWish
from engine.models.recipes.patch_budget import PatchBudget
from engine.models.recipes.pictures import fingerprint


@dataclass(frozen=True, slots=True)
class Frame:
    """The words around a feature's."""

    start: str
    slot: str
    end: str

    def __call__(self, count: int) -> str:
        return f"{self.start}{self.slot * count}{self.end}"


@dataclass(frozen=True, slots=True)
class FramedPictureProcessor:
    slot_id: int
    frame: Frame
    recipe: PatchBudget

    @property
    def marker(self) -> str:
        return self.frame.slot

    def prepare(self, picture: Image.Image, digest: str) -> PreparedMedia:
        patches, grid = self.recipe(picture)
        count = self.recipe.features(grid)
        return PreparedMedia(
            modality=Modality.IMAGE,
            arrays={"pixel_values": patches, "grid": np.array(grid)},
            expansion=self.frame(count),
            feature_count=count,
            digest=fingerprint(digest, self.recipe),
        )


@dataclass(frozen=True, slots=True)
class FramedClipProcessor:
    slot_id: int
    frame: Frame
    recipe: PatchBudget
    sampling: Sampling

    @property
    def marker(self) -> str:
        return self.frame.slot

    def plan(self, facts: ClipFacts, wish: ClipWish) -> ClipPlan:
        indices = self.sampling(facts, wish)
        return ClipPlan(tuple(indices), self.recipe.scaled_size(facts.size), self.recipe.resample)

    def prepare(self, frames: np.ndarray, facts: ClipFacts, plan: ClipPlan, digest: str) -> PreparedMedia:
        patches, grid = self.recipe.cut(frames)
        count = self.recipe.features(grid)
        moments = (divmod(int(index / facts.fps), 60) for index in plan.indices)
        return PreparedMedia(
            modality=Modality.VIDEO,
            arrays={"pixel_values": patches, "grid": np.array(grid)},
            expansion=" ".join(f"{minute:02d}:{second:02d} {self.frame(count)}" for minute, second in moments),
            feature_count=count * len(frames),
            digest=fingerprint(digest, self.recipe),
        )
