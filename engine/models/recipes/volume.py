"""Pictures as rows of patches, within bounds on frames x height x width: GLM's way.

Knows nothing of prompts. The numbers of transformers' `Glm4vImageProcessorPil`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.models.recipes.patches import PatchRecipe, grown, whole_blocks
from engine.models.recipes.pictures import Pair, refuse_strip

BOUNDS = (112 * 112, 28 * 28 * 15000)
"""Of a preprocessor file that names none."""


@dataclass(frozen=True, slots=True)
class VolumeRecipe(PatchRecipe):
    """A picture counts as often as it is repeated."""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "VolumeRecipe":
        """From a preprocessor file. Raises `CheckpointError` for what is not known here."""
        return cls.read({"size": {"shortest_edge": BOUNDS[0], "longest_edge": BOUNDS[1]}, **settings})

    def scaled_size(self, size: Pair) -> Pair:
        side = self.patch * self.merge
        size = grown(size, side)
        refuse_strip(size)
        return whole_blocks(size, side, self.min_pixels, self.max_pixels, self.frames)
