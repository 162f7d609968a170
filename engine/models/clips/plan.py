"""What a family says about clips: which frames it looks at, how large, and what becomes of them.

Knows nothing of files and decoders: `engine.models.media.clip` reads the frames that a plan names, already scaled.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL.Image import Resampling

from engine.models.recipes.pictures import Pair

if TYPE_CHECKING:
    from engine.models.base import PreparedMedia


@dataclass(frozen=True, slots=True)
class ClipFacts:
    """What is known of a clip before any of its frames is kept."""

    times: np.ndarray = field(repr=False)
    """(N,) float64: when each frame that can be decoded is shown, in seconds, the first at 0."""
    size: Pair
    """Of a frame, upright."""
    duration: float
    """Seconds, the last frame's own included."""

    @property
    def count(self) -> int:
        return len(self.times)

    @property
    def fps(self) -> float:
        """Frames a second, on average."""
        return self.count / self.duration


@dataclass(frozen=True, slots=True)
class ClipWish:
    """What the person asked for; `None` leaves it to the model's own files."""

    fps: float | None = None
    """Frames looked at for each second of the clip."""
    max_frames: int | None = None


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """Which frames are looked at, and how large."""

    indices: tuple[int, ...]
    """Ascending, from 0 to `ClipFacts.count - 1`, numbered as if the frames came at an even rate, as the references do;
    a frame may be named twice. Where the rate is uneven, what is on screen at that moment is read."""
    size: Pair
    """What each frame is scaled to."""
    resample: Resampling
    antialias: bool = True
    """Whether pixels between those that are looked at are averaged in; without it only `BILINEAR` is known."""


_ROUNDING = 1e-4
"""Seconds: containers round times, and a frame is to count as shown when it begins."""


class ClipProcessor(Protocol):
    """From a clip to what the tower takes; made by a family from a checkpoint's files."""

    marker: str
    """What the chat template writes for one clip; `PreparedMedia.expansion` takes the place of all of it."""
    slot_id: int
    """The token id whose places take a clip's features; may be that of pictures."""

    def plan(self, facts: ClipFacts, wish: ClipWish) -> ClipPlan:
        """Raises `MediaError` for a clip it cannot take, such as one that is too short or too narrow."""
        ...

    def prepare(self, frames: np.ndarray, facts: ClipFacts, plan: ClipPlan, digest: str) -> "PreparedMedia":
        """`frames` (T, H, W, 3) uint8 as the plan asked for; `digest` is that of the clip's content and the plan."""
        ...


def frames_on_screen(facts: ClipFacts, indices: Sequence[int]) -> list[int]:
    """The frames that are shown at the moments which `indices` stand for at an even rate; those themselves where the
    clip's rate is even."""
    moments = np.asarray(indices) / facts.fps + _ROUNDING
    return np.clip(np.searchsorted(facts.times, moments, side="right") - 1, 0, facts.count - 1).tolist()
