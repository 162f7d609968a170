"""Pictures and clips as patches, made ready for a tower that takes them at their own shape: Qwen-VL's way.

Knows nothing of decoders. Families bring the markers, how frames are chosen, and what a clip's expansion says.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, PreparedMedia
from engine.models.clips.clip_patches import ClipPatchRecipe
from engine.models.clips.plan import ClipFacts, ClipPlan, ClipWish
from engine.models.recipes.patches import PatchRecipe
from engine.models.recipes.pictures import fingerprint
from engine.models.recipes.preprocessor import read_clip_preprocessor, read_preprocessor

_BOUNDS = frozenset(("size", "min_pixels", "max_pixels"))

Sampler = Callable[[ClipFacts, ClipWish], Sequence[int]]
"""Which frames are looked at."""


class Wording(Protocol):
    """What stands in the prompt for a clip."""

    def __call__(self, seconds: np.ndarray, features: int) -> str:
        """`seconds` (T, frames): when each frame of each step in time is shown; `features` is how many one step has."""
        ...


class PatchedPictureProcessor:
    def __init__(self, marker: str, slot_id: int, recipe: PatchRecipe) -> None:
        self.marker = marker
        self.slot_id = slot_id
        self._recipe = recipe

    def prepare(self, picture: Image.Image, digest: str) -> PreparedMedia:
        patches, grid = self._recipe(picture)
        features = len(patches) // self._recipe.merge**2
        return PreparedMedia(
            modality=Modality.IMAGE,
            arrays={"pixel_values": patches, "grid": np.array(grid)},
            expansion=self.marker * features,
            feature_count=features,
            digest=fingerprint(digest, self._recipe),
        )


class PatchedClipProcessor:
    def __init__(self, marker: str, slot_id: int, recipe: ClipPatchRecipe, choose: Sampler, wording: Wording) -> None:
        self.marker = marker
        self.slot_id = slot_id
        self._recipe = recipe
        self._choose = choose
        self._wording = wording

    def plan(self, facts: ClipFacts, wish: ClipWish) -> ClipPlan:
        indices = tuple(self._choose(facts, wish))
        return ClipPlan(indices, self._recipe.scaled_size(facts.size, len(indices)), Resampling(self._recipe.resample))

    def prepare(self, frames: np.ndarray, facts: ClipFacts, plan: ClipPlan, digest: str) -> PreparedMedia:
        """Beside `pixel_values` and `grid`, `seconds_per_step` () float32: how long a step in time is on average."""
        patches, grid = self._recipe(frames)
        features = len(patches) // self._recipe.merge**2
        indices = np.array(plan.indices)
        whole = np.pad(indices, (0, -len(indices) % self._recipe.frames), mode="edge")
        seconds = (whole / facts.fps).reshape(-1, self._recipe.frames)
        rate = len(indices) / facts.count * facts.fps
        return PreparedMedia(
            modality=Modality.VIDEO,
            arrays={
                "pixel_values": patches,
                "grid": np.array(grid),
                "seconds_per_step": np.array(self._recipe.frames / rate, np.float32),
            },
            expansion=self._wording(seconds, features // grid[0]),
            feature_count=features,
            digest=fingerprint(digest, self._recipe),
        )


def clip_settings(folder: Path) -> dict[str, Any]:
    """What the checkpoint says of clips; where that is nothing, what it says of pictures, but for how large they are.

    The reference takes that for frames too, which makes them many times larger than Qwen's own tools do.
    """
    return read_clip_preprocessor(folder) or {
        name: value for name, value in read_preprocessor(folder).items() if name not in _BOUNDS
    }


def tower_cut(vision: Config) -> tuple[int, int, int]:
    """Frames, side and merge of the patches that a normalised `vision_config` asks for."""
    return vision["temporal_patch_size"], vision["patch_size"], vision["spatial_merge_size"]


def check_cut(recipe: PatchRecipe | ClipPatchRecipe, vision: Config) -> None:
    """Raises `CheckpointError` when the patches of a preprocessor file are not those of the tower."""
    cut, wanted = (recipe.frames, recipe.patch, recipe.merge), tower_cut(vision)
    if cut != wanted:
        raise CheckpointError(
            f"The preprocessor file cuts patches of (frames, side, merge) {cut}, the tower takes {wanted}."
        )
