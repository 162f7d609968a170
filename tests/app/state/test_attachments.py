"""The tray takes pictures and clips by name and size, and says of everything else why not."""

import pytest

from app.state.attachment import FileFacts
from app.state.attachments import AttachmentTray
from app.state.media_kinds import MediaKind
from app.state.senses import Senses
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
    assert "2 attachments" in refusal
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


def test_takes_clips_up_to_a_limit_of_their_own(tmp_path):
    clip = tmp_path / "dog.MOV"
    clip.write_bytes(b"x" * 2_000)
    assert AttachmentTray(MediaLimits(max_bytes=1_000)).add_files([clip]) == []
    tray = AttachmentTray(MediaLimits(max_clip_bytes=1_000))
    (refusal,) = tray.add_files([clip])
    assert "too large" in refusal
    assert tray.items == ()


def test_learns_what_a_file_holds_and_remembers_how_many_frames(picture):
    tray = AttachmentTray()
    tray.add_files([picture])
    (item,) = tray.items
    changes = collect(tray.changed)
    assert tray.learn(item.key, FileFacts(MediaKind.CLIP, 1.5, b"gif"))
    tray.set_frames(item.key, 16)
    (item,) = tray.items
    assert (item.kind, item.duration, item.content, item.frames) == (MediaKind.CLIP, 1.5, b"gif", 16)
    assert item.source == picture, "so that the same file is still taken only once"
    assert len(changes) == 2
    assert not tray.learn(99, FileFacts(MediaKind.CLIP))


def test_says_so_when_the_model_is_another(picture):
    tray = AttachmentTray()
    tray.add_files([picture])
    changes = collect(tray.changed)
    for senses in (Senses(True, False), Senses(True, False), None):
        tray.set_senses(senses)
    assert changes == [tray.items, tray.items], "once each time it is different"
