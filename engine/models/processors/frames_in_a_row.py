"""Frames of a clip at the tower's own size, their features one behind the other and a mark at the end.

Knows nothing of towers. LLaVA-OneVision's way (transformers `processing_llava_onevision.py`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL.Image import Resampling

from engine.api.events import Modality
from engine.models.base import PreparedMedia
from engine.models.clips.plan import ClipFacts, ClipPlan, ClipWish
from engine.models.recipes.pictures import Pair, Values, fingerprint


@dataclass(frozen=True, slots=True)
class FramesInARow:
    marker: str
    slot_id: int
    size: Pair
    resample: Resampling
    values: Values
    features: int
    """Of one frame."""
    choose: Callable[[ClipFacts, ClipWish], Sequence[int]]

    def plan(self, facts: ClipFacts, wish: ClipWish) -> ClipPlan:
        return ClipPlan(tuple(self.choose(facts, wish)), self.size, self.resample)

    def prepare(self, frames: np.ndarray, facts: ClipFacts, plan: ClipPlan, digest: str) -> PreparedMedia:
        count = len(frames) * self.features + 1
        return PreparedMedia(
            modality=Modality.VIDEO,
            arrays={"pixel_values": self.values(frames)},
            expansion=self.marker * count,
            feature_count=count,
            digest=fingerprint(digest, self.values),
        )
