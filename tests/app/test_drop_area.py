"""Real drag and drop events: the page lights up for pictures, refuses the rest, and says what was dropped."""

from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPointF
from PySide6.QtGui import QDragLeaveEvent, QDropEvent
from PySide6.QtWidgets import QApplication

from app.widgets.drop_area import DropArea
from tests.app.drags import COPY, LEFT, NO_KEY, drag_in, drop, holding
from tests.app.pictures import draw_image


@pytest.fixture
def area(qtbot):
    area = DropArea()
    qtbot.addWidget(area)
    area.resize(400, 300)
    area.show()
    return area


def test_lights_up_for_a_picture_and_goes_dark_when_it_leaves(area):
    assert not area.is_lit
    event = drag_in(area, holding("/tmp/cat.heic"))
    assert event.isAccepted()
    assert area.is_lit
    assert "this picture" in area.sentence
    QApplication.sendEvent(area, QDragLeaveEvent())
    assert not area.is_lit
    assert area.sentence == ""


def test_says_what_hovers(area):
    drag_in(area, holding("/tmp/dog.mp4"))
    assert area.sentence == "Drop to ask about this clip"
    drag_in(area, holding("/tmp/dog.mp4", "/tmp/cat.png", "/tmp/notes.txt"))
    assert area.sentence == "Drop to ask about these files"


@pytest.mark.parametrize("names", [("/tmp/notes.txt",), ("/tmp/a.zip", "/tmp/b.mp3"), ("https://example.org/cat.png",)])
def test_says_no_to_what_is_no_local_picture(area, qtbot, monkeypatch, names):
    event = drag_in(area, holding(*names))
    assert not event.isAccepted()
    assert not area.is_lit
    assert area.sentence.endswith(".")
    area.fading.timeout.emit()
    assert area.sentence == "", "the sentence goes by itself"


def test_says_no_to_dragged_words(area):
    mime = QMimeData()
    mime.setText("hello")
    assert not drag_in(area, mime).isAccepted()
    assert not area.is_lit


def test_dropped_pictures_are_handed_on_with_what_came_along(area):
    dropped = []
    area.files_dropped.connect(dropped.append)
    assert drop(area, holding("/tmp/a.png", "/tmp/b.jpg", "/tmp/notes.txt")).isAccepted()
    assert dropped == [[Path("/tmp/a.png"), Path("/tmp/b.jpg"), Path("/tmp/notes.txt")]]
    assert not area.is_lit


def test_dropped_pixels_are_handed_on(area):
    dropped = []
    area.image_dropped.connect(dropped.append)
    drop(area, holding(image=draw_image("green")))
    assert dropped[0].size() == draw_image("green").size()


def test_a_refused_drop_hands_nothing_on(area):
    dropped = []
    area.files_dropped.connect(dropped.append)
    mime = holding("/tmp/notes.txt")
    event = QDropEvent(QPointF(60, 60), COPY, mime, LEFT, NO_KEY)
    QApplication.sendEvent(area, event)
    assert not event.isAccepted()
    assert dropped == []
