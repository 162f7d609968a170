"""Why a question cannot be sent, each reason with its way out."""

import pytest

from app.state.attachment import Attachment
from app.state.media_kinds import MediaKind
from app.state.obstacle import find_obstacle
from app.state.senses import Senses

SEES, READS = Senses(True, False), Senses(False, False)
PICTURE = Attachment(1, "cat.png", b"png", 3)


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "dog.mp4"
    path.write_bytes(b"mp4")
    return Attachment(2, "dog.mp4", path, 3, MediaKind.CLIP)


def test_nothing_is_in_the_way_of_what_the_model_takes(clip):
    assert find_obstacle([PICTURE, clip], [clip], SEES) is None
    assert find_obstacle([PICTURE], [], None) is None
    assert find_obstacle([], [], READS) is None


def test_a_vanished_clip_is_named_with_where_it_was(clip):
    clip.source.unlink()
    new, earlier = find_obstacle([clip], [], SEES), find_obstacle([], [clip], SEES)
    assert new.message == earlier.message == "“dog.mp4” is no longer where it was."
    assert str(clip.source) in new.hint
    assert "remove it" in new.hint
    assert "new chat" in earlier.hint


def test_a_model_without_the_sense_for_it_is_to_be_changed(clip):
    new = find_obstacle([clip], [], READS)
    assert new.message == "This model does not take clips."
    assert "another model" in new.hint
    assert "remove" in new.hint
    earlier = find_obstacle([], [PICTURE], READS)
    assert earlier.message == "This model does not take pictures."
    assert "“cat.png” from earlier" in earlier.hint
    assert "new chat" in earlier.hint


def test_a_clip_waits_until_the_model_is_known(clip):
    assert "No model is ready" in find_obstacle([clip], [], None).message
