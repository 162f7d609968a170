"""Small versions of pictures and clips: upright, in proportion, and none where there can be none."""

import pytest
from PySide6.QtCore import QSize
from PySide6.QtGui import QImage

from app.state.attachment import FileFacts
from app.state.media_kinds import MediaKind
from app.thumbnails import ThumbnailLoader, read_preview, read_thumbnail
from app.widgets.media_offer import encode_png
from tests.app.clips import write_clip, write_gif


def wide_image(width, height):
    image = QImage(width, height, QImage.Format.Format_RGB32)
    image.fill(0xFF336699)
    return image


@pytest.mark.parametrize(
    ("size", "edge", "expected"),
    [((400, 200), 100, (100, 50)), ((40, 20), 100, (40, 20)), ((3000, 2), 100, (100, 1))],
)
def test_fits_the_edge_and_is_never_enlarged(qapp, size, edge, expected):
    assert read_thumbnail(encode_png(wide_image(*size)), edge).size() == QSize(*expected)


def test_reads_files_by_content_whatever_their_name(qapp, tmp_path):
    path = tmp_path / "really_a_png.jpg"
    path.write_bytes(encode_png(wide_image(10, 10)))
    assert not read_thumbnail(path, 100).isNull()


def test_no_thumbnail_for_what_is_no_picture_or_is_enormous(qapp, tmp_path, monkeypatch):
    path = tmp_path / "broken.png"
    path.write_bytes(b"not a picture")
    assert read_thumbnail(path, 100).isNull()
    monkeypatch.setattr("app.thumbnails.MAX_PIXELS", 99)
    assert read_thumbnail(encode_png(wide_image(10, 10)), 100).isNull()


def test_loads_beside_the_windows_thread(qtbot, picture):
    loader = ThumbnailLoader(16)
    with qtbot.waitSignal(loader.loaded) as waiting:
        loader.load(7, picture)
    key, preview = waiting.args
    assert key == 7
    assert max(preview.image.width(), preview.image.height()) == 16
    assert preview.facts == FileFacts(MediaKind.PICTURE, data=picture.read_bytes())
    loader.close()


def test_the_content_says_what_a_file_is_whatever_its_name(qapp, tmp_path, picture):
    clip = write_clip(tmp_path / "clip.mp4").rename(tmp_path / "clip.png")
    photo = picture.rename(tmp_path / "photo.mp4")
    assert read_preview(clip, 32).facts == FileFacts(MediaKind.CLIP, duration=2.0)
    assert read_preview(photo, 32).facts.kind is MediaKind.PICTURE


def test_a_moving_gif_is_a_clip_that_is_kept(qapp, tmp_path):
    gif = write_gif(tmp_path / "moving.gif")
    assert read_preview(gif, 32).facts == FileFacts(MediaKind.CLIP, 1.2, gif.read_bytes())
    still = read_preview(write_gif(tmp_path / "still.gif", frames=1), 32)
    assert still.facts.kind is MediaKind.PICTURE
    assert not still.image.isNull()


@pytest.mark.parametrize("content", [b"", b"#EXTM3U\n/etc/passwd\n", b"ffconcat version 1.0\nfile /etc/passwd"])
def test_nothing_but_a_clip_comes_near_the_decoder(qapp, tmp_path, monkeypatch, content):
    monkeypatch.setattr("app.thumbnails.read_poster", lambda path, edge: pytest.fail("it was opened"))
    path = tmp_path / "list.mp4"
    path.write_bytes(content)
    preview = read_preview(path, 32)
    assert preview.image.isNull()
    assert preview.facts is None


def test_a_picture_that_qt_cannot_read_is_kept_all_the_same(qapp):
    data = b"\0\0\0\x18ftypheic and then nothing of use"
    preview = read_preview(data, 32)
    assert preview.image.isNull()
    assert preview.facts == FileFacts(MediaKind.PICTURE, data=data)


def test_what_has_gone_is_reported_without_facts(qtbot, tmp_path):
    loader = ThumbnailLoader(16)
    with qtbot.waitSignal(loader.loaded) as waiting:
        loader.load(7, tmp_path / "gone.mp4")
    assert waiting.args[1].image.isNull()
    assert waiting.args[1].facts is None
    loader.close()
