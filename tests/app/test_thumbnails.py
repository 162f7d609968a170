"""Small versions of pictures: upright, in proportion, and none where there can be none."""

import pytest
from PySide6.QtCore import QSize
from PySide6.QtGui import QImage

from app.thumbnails import ThumbnailLoader, read_thumbnail
from app.widgets.picture_offer import encode_png


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
    key, image = waiting.args
    assert key == 7
    assert max(image.width(), image.height()) == 16
    loader.close()
