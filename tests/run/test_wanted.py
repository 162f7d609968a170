"""What opening a picture or clip will take is said before it is taken, and a prompt that is read gives it back."""

import io

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL.Image import Resampling

from engine.api.errors import MediaError
from engine.api.events import Modality
from engine.api.request import Image, Video
from engine.api.settings import MediaLimits
from engine.models.base import PreparedMedia
from engine.models.clips.plan import ClipPlan
from engine.models.media.picture import stored_size
from engine.models.media.source import Content
from engine.models.media.wanted import OF_A_CLIPS_PIXEL, OF_A_PIXEL, Wanted
from engine.run.media import MediaReader
from engine.run.prompt import SMALL, Prompt
from tests.media import clips


class Frames:
    def plan(self, facts, wish):
        return ClipPlan((0, 5, 9), (6, 8), Resampling.BICUBIC)

    def prepare(self, frames, facts, plan, digest):
        return PreparedMedia(Modality.VIDEO, {"pixel_values": frames}, "", len(frames), digest)


class Pictures:
    def prepare(self, picture, digest):
        return PreparedMedia(Modality.IMAGE, {"pixel_values": np.asarray(picture)}, "", 1, digest)


def encoded(size, kind="PNG"):
    data = io.BytesIO()
    PILImage.new("RGB", size).save(data, kind)
    return data.getvalue()


@pytest.fixture
def decoded(monkeypatch):
    """How many pictures have been."""
    from engine.run import media

    calls, decode = [], media.decode_picture

    def counted(*arguments):
        calls.append(1)
        return decode(*arguments)

    monkeypatch.setattr(media, "decode_picture", counted)
    return calls


def test_a_picture_is_not_decoded_before_it_was_said_what_it_takes(decoded):
    reader = MediaReader(Pictures(), Frames(), MediaLimits())
    picture = Image(encoded((30, 20)), "sea.png")
    work = reader.prepare(picture, None)
    wanted = next(pause for pause in work if pause is not None)
    assert wanted == Wanted("sea.png", 30 * 20 * OF_A_PIXEL)
    assert decoded == []
    assert not [pause for pause in work if pause is not None]
    assert decoded == [1]
    # It lies ready now.
    assert [*reader.prepare(picture, None)] == [None]


def test_a_clips_frames_are_not_read_before_it_was_said_what_they_take(tmp_path):
    reader = MediaReader(Pictures(), Frames(), MediaLimits())
    clip = Video(clips.write(tmp_path / "a.mp4", 20), "b.mp4")
    wanted = [pause for pause in reader.prepare(clip, None) if pause is not None]
    assert wanted == [Wanted("b.mp4", 3 * 6 * 8 * OF_A_CLIPS_PIXEL)]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_the_size_is_told_by_the_first_bytes(kind):
    assert stored_size(Content(encoded((30, 20), kind), "a picture")) == (30, 20)


@pytest.mark.parametrize("data", [b"not a picture", encoded((30, 20))[:12]])
def test_what_is_wrong_with_a_picture_is_told_when_it_is_decoded(data):
    assert stored_size(Content(data, "a picture")) is None
    with pytest.raises(MediaError):
        list(MediaReader(Pictures(), None, MediaLimits()).prepare(Image(data), None))


def test_a_prompt_that_is_read_holds_no_pixels():
    arrays = {"pixel_values": np.zeros((4, SMALL), np.float32), "grid": np.array([1, 2, 2])}
    item = PreparedMedia(Modality.IMAGE, arrays, "", 4, "digest")
    prompt = Prompt(np.arange(9, dtype=np.int32), np.arange(4, dtype=np.int32), (item,), "text", ((2, 2),), ("a note",))
    read = prompt.without_pixels()
    assert read.media[0].arrays.keys() == {"grid"}
    assert (read.media[0].digest, read.media[0].feature_count, read.sizes, read.notes) == (
        "digest",
        4,
        ((2, 2),),
        ("a note",),
    )
    assert arrays.keys() == {"pixel_values", "grid"}
