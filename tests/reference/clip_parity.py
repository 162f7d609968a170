"""The tests every family that takes clips has to pass beside those of `parity`.

A clip is an array of frames and how many of them a second has; the reference's video processor chooses among them.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.loading.config import normalise, read_config
from engine.models.base import PreparedMedia, finished
from engine.models.clips.plan import ClipWish
from engine.models.media.clip import scaled
from engine.models.registry import find_family
from tests.reference import tiny
from tests.reference.clips import drawn_clip, facts_of, metadata_of
from tests.reference.measured import Measured
from tests.reference.ours import Ours
from tests.reference.parity import NEW_TOKENS, TOLERANCE, Case, Inputs, Pair, difference


@dataclass(frozen=True)
class Clip:
    frames: np.ndarray = field(repr=False)
    fps: float


CLIPS = {
    "even": Clip(drawn_clip(24, (40, 60), 1), 8.0),
    "odd": Clip(drawn_clip(5, (33, 20), 2), 12.5),
    "long": Clip(drawn_clip(40, (25, 50), 3), 4.0),
}

Medium = Image.Image | Clip


class SeesClips(Ours):
    """Pictures and clips in one prompt, in the order of their markers."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        config = normalise(read_config(folder))
        self.clips = find_family(config).clips(folder, config, self.tokenizer)

    def prompt(self, text: str, media: list[Medium]) -> tuple[list[int], list[PreparedMedia]]:
        prepared = [self._prepared(medium, str(number)) for number, medium in enumerate(media)]
        markers = "|".join(re.escape(each.marker) for each in (self.processor, self.clips))
        waiting = iter(prepared)
        text = re.sub(markers, lambda _: next(waiting).expansion, text) if media else text
        return self.tokenizer.encode(finished(text, prepared), add_special_tokens=False), prepared

    def _prepared(self, medium: Medium, digest: str) -> PreparedMedia:
        if isinstance(medium, Image.Image):
            return self.processor.prepare(medium, digest)
        facts = facts_of(medium.frames, medium.fps)
        plan = self.clips.plan(facts, ClipWish())
        frames = [scaled(medium.frames[index], plan) for index in plan.indices]
        return self.clips.prepare(np.stack(frames), facts, plan, digest)

    def slots(self, ids: list[int], media: list[PreparedMedia]) -> np.ndarray:
        wanted = [self.processor.slot_id, self.clips.slot_id] if media else []
        return np.flatnonzero(np.isin(ids, wanted)).astype(np.int32)


class ClipPair(Pair):
    def __init__(self, case: Case, root: Path):
        super().__init__(case, root)
        self.processor.video_processor.save_pretrained(self.folder)
        self.ours = SeesClips(self.folder)

    def inputs(self, text: str, media: list[Medium]) -> Inputs:
        clips = [medium for medium in media if isinstance(medium, Clip)]
        if not clips:
            return super().inputs(text, media)
        pictures = [medium for medium in media if isinstance(medium, Image.Image)]
        found = self.processor(
            text=text,
            images=pictures or None,
            videos=[clip.frames for clip in clips],
            video_metadata=[metadata_of(clip.frames, clip.fps) for clip in clips],
            return_tensors="pt",
        )
        return {key: value for key, value in found.items() if key != "token_type_ids"}


class ClipParity:
    case: Case
    clip: str
    """A prompt with one clip."""
    both: str
    """A prompt with a picture, then a clip, then a picture."""
    clips: tuple[str, ...] = tuple(CLIPS)

    @pytest.fixture(scope="class")
    def clip_pair(self, tmp_path_factory) -> ClipPair:
        return ClipPair(self.case, tmp_path_factory.mktemp("clips"))

    def clip_pixels_of(self, inputs: Inputs) -> np.ndarray:
        """What of the reference's inputs our pixel values are held against."""
        return inputs["pixel_values_videos"].numpy()

    def test_ids_and_pixels_of_clips(self, clip_pair, row: Measured):
        for name in self.clips:
            ids, (media,) = clip_pair.ours.prompt(self.clip, [CLIPS[name]])
            theirs = clip_pair.inputs(self.clip, [CLIPS[name]])
            assert ids == theirs["input_ids"][0].tolist()
            assert media.feature_count == len(clip_pair.ours.slots(ids, [media]))
            pixels = self.clip_pixels_of(theirs).reshape(media.arrays["pixel_values"].shape)
            row.pixels = max(row.pixels, float(np.abs(media.arrays["pixel_values"] - pixels).max()))
        assert row.pixels < 1e-5

    def test_one_clip(self, clip_pair, row):
        for name in self.clips:
            self.hold(row, clip_pair.ours.logits(self.clip, [CLIPS[name]]), clip_pair.logits(self.clip, [CLIPS[name]]))

    def test_a_clip_between_pictures(self, clip_pair, row):
        media = [tiny.picture("landscape"), CLIPS[self.clips[0]], tiny.picture("portrait")]
        self.hold(row, clip_pair.ours.logits(self.both, media), clip_pair.logits(self.both, media))

    def test_the_order_of_frames_matters(self, clip_pair):
        """Else the other tests would hold for a model that takes clips for heaps of pictures."""
        forward = CLIPS[self.clips[0]]
        backward = Clip(forward.frames[::-1], forward.fps)
        first, second = (clip_pair.logits(self.clip, [clip])[-1] for clip in (forward, backward))
        assert difference(first, second) > 10 * TOLERANCE

    def test_greedy_tokens_after_a_clip(self, clip_pair):
        media = [CLIPS[self.clips[0]]]
        ours = clip_pair.ours.greedy(self.clip, media, NEW_TOKENS, clip_pair.banned)
        assert ours == clip_pair.greedy(self.clip, media)

    def test_a_prompt_in_chunks_that_part_a_clip(self, clip_pair):
        media = [CLIPS[self.clips[0]]]
        ids, _ = clip_pair.ours.prompt(self.clip, media)
        step = ids.index(clip_pair.ours.clips.slot_id) + 2
        whole = clip_pair.ours.logits(self.clip, media)
        assert difference(clip_pair.ours.logits(self.clip, media, step), whole) < 1e-5

    def test_a_clip_in_pieces(self, clip_pair, monkeypatch):
        """Nothing changes when it is encoded one step in time after the other, with pauses between them."""
        _, (media,) = clip_pair.ours.prompt(self.clip, [CLIPS[self.clips[0]]])
        model = clip_pair.ours.model
        at_once = np.array(model.encode(media))
        monkeypatch.setattr("engine.models.joined.grid.PATCHES_AT_ONCE", 1)
        *pauses, last = model.encode_in_pieces(media)
        assert len(pauses) == media.arrays["grid"][0] - 1
        assert np.abs(np.array(last) - at_once).max() < 1e-5 * np.abs(at_once).max()
