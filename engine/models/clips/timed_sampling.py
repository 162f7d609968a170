"""Which frames of a clip are looked at, by the time at which they are shown: GLM-4V's way and GLM-4.6V's.

Knows nothing of pixels. Sources: `sample_frames` of transformers' `video_processing_glm4v.py` and
`video_processing_glm46v.py`. Both give an even number of frames, the last one twice if need be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from engine.models.clips.plan import ClipFacts, ClipWish

RATES = ((30, 3.0), (300, 1.0), (2400, 0.5))
"""GLM-4.6V's steps in time a second, for clips that last up to so many seconds."""

MOST = 640
"""GLM-4.6V's frames of a clip of any length."""


@dataclass(frozen=True, slots=True)
class AtRate:
    """So many frames a second, as GLM-4V does; of clips longer than `longest` seconds as many as of one so long."""

    fps: float
    longest: float

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> "AtRate":
        return cls(settings.get("fps", 2), settings.get("max_duration", 300))

    def __call__(self, facts: ClipFacts, wish: ClipWish) -> list[int]:
        """Ascending."""
        fps = wish.fps or self.fps
        if facts.duration <= self.longest:
            indices = [ceil(number * facts.fps / fps) for number in range(max(int(facts.duration * fps), 1))]
        elif (count := int(self.longest * fps)) < facts.count:
            indices = [ceil(moment * facts.fps) for moment in np.linspace(0, facts.duration, count)]
        else:
            indices = list(range(facts.count))
        return _paired([min(index, facts.count - 1) for index in indices], wish)


@dataclass(frozen=True, slots=True)
class ByLength:
    """The more frames a second the shorter the clip is, as GLM-4.6V does."""

    frames: int
    """How many make one step in time."""

    def __call__(self, facts: ClipFacts, wish: ClipWish) -> list[int]:
        """Ascending."""
        lasting = min(facts.duration, RATES[-1][0])
        rate = wish.fps or self.frames * next(rate for longest, rate in RATES if lasting <= longest)
        # The reference takes none of a clip shorter than one frame at that rate, and fails.
        count = max(min(int(lasting * rate), MOST), 1)
        indices = range(0) if facts.count < count else self._stepped(facts, rate)
        if len(indices) < count:
            ends = (indices[0], indices[-1]) if indices else (0, facts.count - 1)
            indices = np.linspace(*ends, count, dtype=int).tolist()
        elif len(indices) > count:
            indices = np.linspace(0, facts.count - 1, count, dtype=int).tolist()
        return _paired(indices, wish)

    def _stepped(self, facts: ClipFacts, rate: float) -> Sequence[int]:
        """The first frame at or behind each moment, up to the last whole second."""
        found, moment = [], 0.0
        for index in range(facts.count):
            if index * (1 / facts.fps) >= moment:
                moment += 1 / rate
                found.append(index)
                if moment >= int(facts.duration):
                    break
        return found


def _paired(indices: Sequence[int], wish: ClipWish) -> list[int]:
    kept = list(dict.fromkeys(indices))
    most = wish.max_frames
    if most is not None and len(kept) > most:
        places = np.linspace(0, len(kept) - 1, max(most - most % 2, 1)).round().astype(int)
        kept = [kept[place] for place in places]
    return kept + kept[-1:] * (len(kept) % 2)
