"""A clip that is too long is refused, whether it says so itself or is found out on the way."""

from itertools import count

import pytest
from PIL.Image import Resampling

from engine.api.errors import MediaError
from engine.api.request import Video
from engine.api.settings import MediaLimits
from engine.models.clips.plan import ClipPlan
from engine.models.media.clip import read_clip
from engine.models.media.frames import ContainerFrames, GifFrames
from tests.media import clips


def read(source, **limits):
    """The first frame."""
    return list(
        read_clip(Video(source), MediaLimits(**limits), lambda facts: ClipPlan((0,), (8, 8), Resampling.BICUBIC))
    )


def test_as_the_container_says(tmp_path):
    path = clips.write(tmp_path / "a.mp4", 20)
    read(path, max_clip_frames=20, max_clip_s=2.0)
    for limits in ({"max_clip_frames": 19}, {"max_clip_s": 1.9}):
        with pytest.raises(MediaError, match=r"a\.mp4 is longer than"):
            read(path, **limits)


def test_a_container_that_promises_more_than_fits_anywhere_is_taken_at_its_word(tmp_path, monkeypatch):
    monkeypatch.setattr(ContainerFrames, "promised", lambda self: (10**15, 25.0))
    with pytest.raises(MediaError, match="longer"):
        read(clips.write(tmp_path / "a.mp4", 5))


def test_as_its_frames_are_counted():
    clip = clips.gif([100] * 5)
    read(clip, max_clip_frames=5, max_clip_s=0.4)
    for limits in ({"max_clip_frames": 4}, {"max_clip_s": 0.3}):
        with pytest.raises(MediaError, match="longer than"):
            read(clip, **limits)


def test_one_without_an_end_is_left(monkeypatch):
    monkeypatch.setattr(GifFrames, "steps", lambda self: map(float, count()))
    with pytest.raises(MediaError, match="longer than"):
        read(clips.gif([100] * 2), max_clip_s=1000)
