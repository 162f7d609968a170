"""Which frames of a clip are looked at: evenly many, by the rate or the number that a checkpoint or a person asks for.

Knows nothing of pixels. Sources: `sample_frames` of transformers' `video_processing_qwen3_vl.py`,
`video_processing_qwen2_vl.py` and `video_processing_internvl.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from engine.api.errors import MediaError
from engine.models.clips.plan import ClipFacts, ClipWish

FPS, MIN_FRAMES, MAX_FRAMES = 2, 4, 768
"""Qwen's own, of files that do not say. `do_sample_frames` only tells whether somebody has chosen frames before."""


@dataclass(frozen=True, slots=True)
class Sampling:
    fps: float
    number: int | None
    """Of frames, whatever the rate."""
    least: int
    most: int
    group: int
    """How many frames make one step in time."""

    @classmethod
    def read(cls, settings: Mapping[str, Any], group: int) -> "Sampling":
        return cls(
            fps=settings.get("fps", FPS),
            number=settings.get("num_frames"),
            least=settings.get("min_frames", MIN_FRAMES),
            most=settings.get("max_frames", MAX_FRAMES),
            group=group,
        )

    def __call__(self, facts: ClipFacts, wish: ClipWish) -> list[int]:
        """Ascending. Raises `MediaError` for a clip that is shorter than one step in time."""
        if facts.count < self.group:
            raise MediaError(
                f"The clip has {facts.count} of the {self.group} frames that the model looks at together.",
                "Send it as a picture, or choose a longer clip.",
            )
        most = self.most if wish.max_frames is None else max(wish.max_frames, self.group)
        asked = self.number
        if asked is None or wish.fps is not None:
            asked = min(max(facts.count / facts.fps * (wish.fps or self.fps), self.least), facts.count)
        return self._spread(facts.count, min(asked, most))

    def _spread(self, count: int, asked: float) -> list[int]:
        raise NotImplementedError


class FirstToLast(Sampling):
    """From the first frame to the last, as Qwen3-VL does."""

    __slots__ = ()

    def _spread(self, count: int, asked: float) -> list[int]:
        return np.linspace(0, count - 1, max(int(asked), self.group)).round().astype(int).tolist()


class EvenSteps(Sampling):
    """Whole groups, each frame as far behind the one before as the clip's end is behind the last, as Qwen2-VL does."""

    __slots__ = ()

    def _spread(self, count: int, asked: float) -> list[int]:
        groups = max(int(min(asked, count) // self.group), 1)
        step = count / (groups * self.group)
        # PyTorch counts the steps in float64 and keeps them in float32.
        return (np.arange(ceil(count / step)) * step).astype(np.float32).astype(int).tolist()


class EvenParts(Sampling):
    """The first frame of each of so many equal parts, as transformers does where a model has no way of its own."""

    __slots__ = ()

    def _spread(self, count: int, asked: float) -> list[int]:
        parts = max(int(min(asked, count)), 1)
        return (np.arange(parts) * count // parts).tolist()


class MiddleOfSteps(Sampling):
    """The frame in the middle of each of equally long stretches, as InternVL does."""

    __slots__ = ()

    def _spread(self, count: int, asked: float) -> list[int]:
        step = count / max(int(min(asked, count)), 1)
        return np.arange(step / 2, count, step).astype(np.float32).astype(int).tolist()
