"""What is said of attachments, under one model and another."""

import dataclasses

import pytest

from app.state.attachment import Attachment
from app.state.attachment_words import NOT_TAKEN, attach_tip, caption, frames_text, question_about, spoken_name
from app.state.media_kinds import MediaKind
from app.state.senses import Senses

PICTURE = Attachment(1, "cat.png", b"", 53_400)
CLIP = Attachment(2, "dog.mp4", b"", 2_000_000, MediaKind.CLIP, duration=12.3)
SEES, WATCHES, READS = Senses(True, False), Senses(True, True), Senses(False, False)


def test_chips_say_size_length_and_what_becomes_of_a_clip():
    assert caption(PICTURE, SEES) == "53\u00a0KB"
    assert caption(CLIP, WATCHES) == caption(CLIP, None) == "0:12 · 2.0\u00a0MB"
    assert caption(CLIP, SEES) == "0:12"
    assert caption(dataclasses.replace(CLIP, duration=None), SEES) == "2.0\u00a0MB"
    assert caption(CLIP, READS) == caption(PICTURE, READS) == NOT_TAKEN
    assert frames_text(8) == "8 frames, as pictures"
    assert frames_text(1) == "1 frame, as a picture"


def test_everything_is_said_aloud():
    assert spoken_name(PICTURE, SEES) == "Picture cat.png, 53\u00a0KB"
    assert spoken_name(CLIP, SEES) == "Clip dog.mp4, 0:12, 8 frames, as pictures"


@pytest.mark.parametrize(
    ("senses", "words"),
    [(None, "pictures or clips"), (WATCHES, "pictures or clips"), (SEES, "some frames"), (READS, "text only")],
)
def test_the_tip_follows_the_model(senses, words):
    assert words in attach_tip(senses)


def test_questions_for_those_who_write_none():
    assert question_about([PICTURE]) == "What is in this picture?"
    assert question_about([PICTURE, PICTURE]) == "What is in these pictures?"
    assert question_about([CLIP]) == "What happens in this clip?"
    assert question_about([CLIP, CLIP]) == "What happens in these clips?"
    assert question_about([PICTURE, CLIP]) == "What can be seen here?"
