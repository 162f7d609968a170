"""One attached clip, from wherever it is to the frames that a family's plan names, scaled as they are read.

Knows nothing of models. The whole clip is never in memory: a frame nobody wants is passed over.
"""

import hashlib
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from engine.api import request
from engine.api.errors import MediaError
from engine.api.media_format import HEAD_BYTES, ClipFormat, clip_format
from engine.api.settings import MediaLimits
from engine.models.clips.plan import ClipFacts, ClipPlan, frames_on_screen
from engine.models.media.frames import ContainerFrames, Frames, GifFrames
from engine.models.media.signature import describe
from engine.models.media.source import LocalFile, local_file
from engine.models.media.torch_resize import torch_resize
from engine.models.media.torch_sample import torch_sample
from engine.models.media.wanted import OF_A_CLIPS_PIXEL, Wanted

_STEPS_AT_ONCE = 32
"""Frames passed over between two looks at the inbox."""

_UNEVEN = 1.5
"""How many frames a clip may be ahead of an even rate or behind it, and still count as even."""

_SHORT = 0.02
"""What part of its frames a clip may lack without a word: many containers count one or two too many."""

Planner = Callable[[ClipFacts], ClipPlan]


@dataclass(frozen=True, slots=True)
class Clip:
    facts: ClipFacts
    plan: ClipPlan
    frames: np.ndarray = field(repr=False)
    """(T, H, W, 3) uint8, RGB, upright, of the plan's size."""
    digest: str
    """sha256 of the file's content, hexadecimal."""
    name: str
    note: str = ""
    """What a person ought to know, such as that the end is damaged."""


def read_clip(part: request.Video, limits: MediaLimits, choose: Planner) -> Generator[Wanted | None, None, Clip]:
    """Pauses between stretches of frames, and says what it wants before it takes it; returns the clip with the frames
    that `choose` named.

    `choose` is called with what the file says of itself, and once more if its frames turn out to be others. Raises
    `MediaError` for what is not there, not a clip, without any frame, or larger than `limits`.
    """
    with local_file(part, limits.max_clip_bytes) as file:
        return (yield from _Reading(file, _opener(file), limits, choose).clip())


def _opener(file: LocalFile) -> Callable[[], Frames]:
    with file.path.open("rb") as content:
        head = content.read(HEAD_BYTES)
    kind = clip_format(head)
    if kind is None:
        raise MediaError(
            f"{file.name} is not a clip: it looks like {describe(head)}.",
            f"Clips can be {', '.join(each.value for each in ClipFormat)}.",
        )
    frames = GifFrames if kind is ClipFormat.GIF else ContainerFrames
    return lambda: frames(file.path)


@dataclass(frozen=True, slots=True)
class _Reading:
    file: LocalFile
    open: Callable[[], Frames]
    limits: MediaLimits
    choose: Planner

    def clip(self) -> Generator[Wanted | None, None, Clip]:
        facts, promised = self._promised_facts()
        if facts is None:
            facts = yield from self._counted_facts()
        plan = self._plan(facts)
        frames, times = yield from self._read(plan, frames_on_screen(facts, plan.indices))
        note = ""
        if not _holds(facts, times, complete=frames is not None):
            facts = yield from self._counted_facts()
            plan = self._plan(facts)
            frames, _ = yield from self._read(plan, frames_on_screen(facts, plan.indices))
            if facts.count < promised * (1 - _SHORT):
                note = (
                    f"{self.file.name} is damaged: {facts.count} of its {promised} frames could be read, "
                    f"the first {facts.duration:.1f} seconds; these were looked at."
                )
        if frames is None:
            raise MediaError(f"{self.file.name} changed while it was read.", "Try again.")
        return Clip(facts, plan, frames, _digest(self.file.path), self.file.name, note)

    def _promised_facts(self) -> tuple[ClipFacts | None, int]:
        """As the container says, and how many frames; `None` where it does not say. The first frame is decoded: it
        tells the size, and that there is one at all."""
        with closing(self.open()) as frames:
            count, rate = frames.promised()
            if next(frames.steps(), None) is None:
                raise MediaError(
                    f"{self.file.name} has no frame that can be read.",
                    "It may be damaged, cut short, or sound alone: see whether a player shows it.",
                )
            size = frames.pixels().shape[:2]
        if size[0] * size[1] > self.limits.max_pixels:
            raise MediaError(
                f"The frames of {self.file.name} are {size[1]:,} x {size[0]:,} pixels, more than the "
                f"{self.limits.max_pixels:,} in all that are opened.",
                "Save a smaller copy of it.",
            )
        if not count or not rate:
            return None, count
        self._check_length(count, count / rate)
        return ClipFacts(np.arange(count) / rate, size, count / rate), count

    def _counted_facts(self) -> Generator[None, None, ClipFacts]:
        """By going through the whole clip."""
        times, size = [], (0, 0)
        with closing(self.open()) as frames:
            for number, time in enumerate(frames.steps()):
                times.append(time)
                self._check_length(len(times), time - times[0])
                if number == 0:
                    size = frames.pixels().shape[:2]
                if number % _STEPS_AT_ONCE == 0:
                    yield
        shown = np.maximum.accumulate(np.array(times) - times[0])
        # The last frame's own time is not known: as long as the others on average, so that it stands at the end.
        usual = float(shown[-1]) / max(len(shown) - 1, 1)
        return ClipFacts(shown, size, float(shown[-1]) + (usual or 1.0))

    def _check_length(self, count: int, seconds: float) -> None:
        """Before so many times are kept, and so many frames gone through."""
        limits = self.limits
        if count > limits.max_clip_frames or seconds > limits.max_clip_s:
            raise MediaError(
                f"{self.file.name} is longer than the {limits.max_clip_s:,.0f} seconds or the "
                f"{limits.max_clip_frames:,} frames that are opened.",
                "Cut the clip.",
            )

    def _plan(self, facts: ClipFacts) -> ClipPlan:
        plan = self.choose(facts)
        pixels = len(plan.indices) * plan.size[0] * plan.size[1]
        if pixels > self.limits.max_clip_pixels:
            raise MediaError(
                f"{len(plan.indices)} frames of {plan.size[1]} x {plan.size[0]} pixels would be looked at in "
                f"{self.file.name}, more than the {self.limits.max_clip_pixels:,} pixels that are taken.",
                "Look at fewer frames (--max-frames, --fps), or cut the clip.",
            )
        return plan

    def _read(
        self, plan: ClipPlan, numbers: list[int]
    ) -> Generator[Wanted | None, None, tuple[np.ndarray | None, np.ndarray]]:
        """The frames of these `numbers`, `None` if not all of them come, and when each frame on the way began."""
        yield Wanted(self.file.name, len(numbers) * plan.size[0] * plan.size[1] * OF_A_CLIPS_PIXEL)
        kept = np.empty((len(numbers), *plan.size, 3), np.uint8)
        times, filled = [], 0
        with closing(self.open()) as frames:
            for number, time in enumerate(frames.steps()):
                times.append(time)
                if numbers[filled] == number:
                    wanted = scaled(frames.pixels(), plan)
                    while filled < len(numbers) and numbers[filled] == number:
                        kept[filled] = wanted
                        filled += 1
                if filled == len(numbers):
                    return kept, np.array(times)
                if number % _STEPS_AT_ONCE == 0:
                    yield
        return None, np.array(times)


def _holds(facts: ClipFacts, times: np.ndarray, *, complete: bool) -> bool:
    """Whether frames came that began at `times`, as far as was read, as `facts` have it."""
    if not complete:
        return False
    expected = facts.times[: len(times)]
    return bool(np.abs((times - times[0]) - expected).max() <= _UNEVEN / facts.fps)


def scaled(pixels: np.ndarray, plan: ClipPlan) -> np.ndarray:
    """A frame (H, W, 3) uint8 as the plan wants it."""
    if pixels.shape[:2] == plan.size:
        return pixels
    return torch_resize(pixels, plan.size, plan.resample) if plan.antialias else torch_sample(pixels, plan.size)


def clip_digest(part: request.Video, limits: MediaLimits) -> str:
    """Of the content of a clip. Raises `MediaError` for what is not there, or larger than `limits`."""
    with local_file(part, limits.max_clip_bytes) as file:
        return _digest(file.path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
