"""Files told apart by their names, and what a drag is told."""

from pathlib import Path

import pytest

from app.state.media_kinds import MediaKind, is_picture, kind_of, refusal_sentence, these

PICTURE, CLIP = MediaKind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a/b.heic", PICTURE),
        ("a.GIF", PICTURE),
        ("a.MOV", CLIP),
        ("b.webm", CLIP),
        ("a/png", None),
        ("a.m3u8", None),
    ],
)
def test_kinds(name, kind):
    assert kind_of(Path(name)) is kind
    assert is_picture(Path(name)) is (kind is PICTURE)


def test_refusals_name_the_file_and_what_can_be_taken():
    one = refusal_sentence([Path("notes.txt")])
    assert "notes.txt" in one
    assert "PNG" in one
    assert "MP4" in one
    assert "2 files" in refusal_sentence([Path("a.txt"), Path("b.txt")])
    assert "pictures or clips" in refusal_sentence([])


def test_what_hovers_is_called_by_its_kind():
    assert these([PICTURE]) == "this picture"
    assert these([CLIP]) == "this clip"
    assert these([CLIP, CLIP]) == "these clips"
    assert these([PICTURE, CLIP]) == "these files"
