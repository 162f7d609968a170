"""The tray takes pictures by name and size, and says of everything else why not."""

from pathlib import Path

import pytest

from app.state.attachments import AttachmentTray, is_picture, refusal_sentence
from engine.api.settings import MediaLimits
from tests.app.state.ports import collect


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "cat.PNG"
    path.write_bytes(b"x" * 2_000)
    return path


def test_takes_a_picture_by_its_name_in_any_case(picture):
    tray = AttachmentTray()
    changes = collect(tray.changed)
    assert tray.add_files([picture]) == []
    (item,) = tray.items
    assert (item.name, item.source, item.size) == ("cat.PNG", picture, 2_000)
    assert changes == [tray.items]


def test_takes_the_same_file_once(picture):
    tray = AttachmentTray()
    tray.add_files([picture, picture])
    tray.add_files([picture])
    assert len(tray.items) == 1


def test_refuses_what_is_no_picture_but_takes_its_neighbour(picture, tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("hello")
    tray = AttachmentTray()
    (refusal,) = tray.add_files([notes, picture])
    assert "notes.txt" in refusal
    assert "PNG" in refusal
    assert [item.name for item in tray.items] == ["cat.PNG"]


def test_refuses_missing_empty_and_folders_each_with_its_reason(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    tray = AttachmentTray()
    missing, empty, folder = tray.add_files([tmp_path / name for name in ("gone.png", "empty.png", "folder.png")])
    assert "gone.png" in missing
    assert "No such file" in missing
    assert "0 bytes" in empty
    assert "folder" in folder
    assert tray.items == ()


def test_refuses_by_size_with_both_numbers(picture):
    (refusal,) = AttachmentTray(MediaLimits(max_bytes=1_000)).add_files([picture])
    assert "2.0\u00a0KB" in refusal
    assert "1.0\u00a0KB" in refusal


def test_holds_no_more_than_one_request_may(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        path.write_bytes(b"x")
    tray = AttachmentTray(MediaLimits(max_images=2))
    (refusal,) = tray.add_files(paths)
    assert "2 pictures" in refusal
    assert len(tray.items) == 2
    assert len(tray.add_picture(b"x", "Pasted.png")) == 1


def test_pasted_bytes_removal_and_emptying(picture):
    tray = AttachmentTray()
    tray.add_files([picture])
    assert tray.add_picture(b"png", "Pasted.png") == []
    first, second = tray.items
    tray.remove(first.key)
    assert tray.take_all() == (second,)
    assert tray.items == ()


def test_what_a_drag_is_told():
    assert is_picture(Path("a/b.heic"))
    assert not is_picture(Path("a/png"))
    assert "notes.txt" in refusal_sentence([Path("notes.txt")])
    assert "2 files" in refusal_sentence([Path("a.txt"), Path("b.txt")])
    assert "picture files" in refusal_sentence([])
