"""Clips from files: the frames that were asked for, whatever the container says of itself."""

import base64

import numpy as np
import pytest
from PIL.Image import Resampling

from engine.api.errors import MediaError
from engine.api.request import Video
from engine.api.settings import MediaLimits
from engine.models.clips.plan import ClipPlan
from engine.models.media.clip import read_clip
from tests.media import clips, drawing


def read(source, indices, *, limits=MediaLimits(), size=None, name=""):  # noqa: B008 - frozen
    """The clip, with frames chosen by `indices` (a list, or a function of the facts)."""
    asked = []

    def choose(facts):
        asked.append(facts)
        chosen = indices(facts) if callable(indices) else indices
        return ClipPlan(tuple(chosen), size or facts.size, Resampling.BICUBIC)

    steps = read_clip(Video(source, name), limits, choose)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value, asked


def everything(facts):
    return range(facts.count)


@pytest.mark.parametrize("write", [clips.write, clips.write_avi])
def test_the_frames_that_were_asked_for(write, tmp_path):
    path = write(tmp_path / ("a.mp4" if write is clips.write else "a.avi"), 25)
    clip, (facts,) = read(path, [0, 3, 3, 17, 24])
    assert clips.shades(clip.frames) == [0, 3, 3, 17, 24]
    assert (facts.count, facts.size, facts.fps, facts.duration) == (25, (48, 64), 10, 2.5)
    assert np.abs(clip.frames[0, 5, 5].astype(int) - (255, 0, 0)).max() < 30
    assert clip.note == ""


def test_frames_come_scaled(tmp_path):
    clip, _ = read(clips.write(tmp_path / "a.mp4", 5), [1, 4], size=(21, 33))
    assert clip.frames.shape == (2, 21, 33, 3)
    assert clips.shades(clip.frames) == [1, 4]


def test_odd_sizes():
    clip, (facts, *_) = read(clips.gif([100] * 4, size=(33, 25)), everything)
    assert facts.size == (25, 33)
    assert clips.shades(clip.frames) == [0, 1, 2, 3]


def test_a_clip_that_is_to_be_turned_is_read_upright(tmp_path):
    path = clips.turned(clips.write(tmp_path / "a.mp4", 4))
    clip, (facts,) = read(path, everything)
    assert facts.size == (64, 48)
    # What was at the upper left is at the upper right.
    assert np.abs(clip.frames[0, 5, -6].astype(int) - (255, 0, 0)).max() < 30


def test_bytes_and_data_uris_are_clips_too(tmp_path):
    data = clips.write(tmp_path / "a.mp4", 6).read_bytes()
    uri = "data:video/mp4;base64," + base64.b64encode(data).decode()
    digests = {read(source, [5])[0].digest for source in (data, uri, tmp_path / "a.mp4")}
    assert len(digests) == 1


def test_an_uneven_rate_is_sampled_by_time(tmp_path):
    """The first ten frames take one second, the other ten take four: half-way through is among the slow ones."""
    path = clips.with_pause(clips.write(tmp_path / "a.mp4", 20), 10, 4)
    clip, asked = read(path, lambda facts: [0, facts.count // 2, facts.count - 1])
    assert asked[-1].duration == pytest.approx(5, abs=0.5)
    assert clips.shades(clip.frames) == [0, 13, 19]
    assert clip.note == ""


def test_an_animated_gif_is_a_clip_with_its_own_times():
    clip, asked = read(clips.gif([100, 100, 800, 100]), everything)
    assert asked[-1].times == pytest.approx([0, 0.1, 0.2, 1.0])
    # Evenly in time, the third is on screen most of it.
    assert clips.shades(clip.frames) == [0, 2, 2, 3]


def test_a_damaged_end_is_left_out_and_said(tmp_path):
    data = clips.write_avi(tmp_path / "a.avi", 25, size=(640, 480)).read_bytes()
    clip, _ = read(data[: len(data) // 2], everything, name="a.avi")
    assert 5 < len(clip.frames) < 20
    assert clips.shades(clip.frames) == list(range(len(clip.frames)))
    assert clip.note.startswith(f"a.avi is damaged: {len(clip.frames)} of its 25 frames")


def test_a_clip_without_frames_is_refused(tmp_path):
    data = clips.write(tmp_path / "a.mp4", 5).read_bytes()
    with pytest.raises(MediaError, match=r"a\.mp4 has no frame that can be read"):
        read(data[: len(data) // 2], everything, name="a.mp4")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"#EXTM3U\n#EXTINF:1,\nhttp://example.com/a.ts\n", "a text file"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "a text file"),
        (drawing.encoded(drawing.halves("red", "blue"), "PNG"), "a picture"),
        (b"RIFF\x00\x00\x00\x00WAVE", "a WAV recording"),
    ],
)
def test_what_is_no_clip_is_told_by_its_beginning(content, words):
    """A playlist in particular: FFmpeg would go and fetch what it names."""
    with pytest.raises(MediaError, match=f"not a clip: it looks like {words}"):
        read(content, everything)


def test_limits_come_before_decoding(tmp_path):
    path = clips.write(tmp_path / "a.mp4", 10)
    with pytest.raises(MediaError, match="bytes, more than the 100"):
        read(path, everything, limits=MediaLimits(max_clip_bytes=100))
    with pytest.raises(MediaError, match="64 x 48 pixels, more than"):
        read(path, everything, limits=MediaLimits(max_pixels=1000))
    with pytest.raises(MediaError, match="10 frames of 64 x 48 pixels would be"):
        read(path, everything, limits=MediaLimits(max_clip_pixels=10_000))
    with pytest.raises(MediaError, match="There is no file"):
        read(tmp_path / "missing.mp4", everything)
    with pytest.raises(MediaError, match="network"):
        read("https://example.com/a.mp4", everything)


def test_a_stop_is_heard_while_a_long_clip_is_read(tmp_path):
    path = clips.write_avi(tmp_path / "a.avi", 200, size=(16, 16))
    plan = ClipPlan((199,), (16, 16), Resampling.BICUBIC)
    steps = read_clip(Video(path), MediaLimits(), lambda facts: plan)
    assert sum(1 for _ in steps) >= 5
