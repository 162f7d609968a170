"""Pictures as tiles and clips as frames, all of the tower's own size, with words around their features.

Knows nothing of towers and decoders. Families bring the words, the recipe, and how frames are chosen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from engine.api.events import Modality
from engine.models.base import PreparedMedia
from engine.models.clips.plan import ClipFacts, ClipPlan, ClipWish
from engine.models.recipes.dynamic_tiles import DynamicTileRecipe
from engine.models.recipes.pictures import fingerprint


@dataclass(frozen=True, slots=True)
class Wording:
    """What stands in the prompt for tiles."""

    slot: str
    slot_id: int
    features: int
    """Of one tile."""
    begin: str
    end: str
    behind: str = ""
    """What follows a picture, or a whole clip, and is part of its marker."""
    marker: str = ""
    """What the chat template writes for a picture; the slot, where it is nothing else."""

    def __call__(self, tiles: int) -> str:
        return f"{self.begin}{self.slot * (self.features * tiles)}{self.end}"


class TiledPictureProcessor:
    def __init__(self, wording: Wording, recipe: DynamicTileRecipe):
        self.marker = (wording.marker or wording.slot) + wording.behind
        self.slot_id = wording.slot_id
        self._wording = wording
        self._recipe = recipe

    def prepare(self, picture: Image.Image, digest: str) -> PreparedMedia:
        tiles = self._recipe(picture)
        return PreparedMedia(
            modality=Modality.IMAGE,
            arrays={"pixel_values": tiles},
            expansion=self._wording(len(tiles)) + self._wording.behind,
            feature_count=len(tiles) * self._wording.features,
            digest=fingerprint(digest, self._recipe),
        )


class FrameClipProcessor:
    """Each frame is one tile, and numbered."""

    def __init__(
        self,
        wording: Wording,
        recipe: DynamicTileRecipe,
        choose: Callable[[ClipFacts, ClipWish], Sequence[int]],
    ):
        self.marker = "<video>" + wording.behind
        self.slot_id = wording.slot_id
        self._wording = wording
        self._recipe = recipe
        self._choose = choose

    def plan(self, facts: ClipFacts, wish: ClipWish) -> ClipPlan:
        return ClipPlan(tuple(self._choose(facts, wish)), self._recipe.size, Resampling(self._recipe.resample))

    def prepare(self, frames: np.ndarray, facts: ClipFacts, plan: ClipPlan, digest: str) -> PreparedMedia:
        lines = [f"Frame{number + 1}: {self._wording(1)}" for number in range(len(frames))]
        return PreparedMedia(
            modality=Modality.VIDEO,
            arrays={"pixel_values": self._recipe.values(frames)},
            expansion="\n".join(lines) + self._wording.behind,
            feature_count=len(frames) * self._wording.features,
            digest=fingerprint(digest, self._recipe),
        )
