"""Many small pieces become few larger ones, in order and complete."""

import pytest
from PySide6.QtCore import QTimer

from app.stream_buffer import StreamBuffer
from engine.api.events import TextDelta, ThinkingDelta, TokenLogprob


@pytest.fixture
def timer(qapp):
    return QTimer()


@pytest.fixture
def delivered():
    return []


@pytest.fixture
def buffer(delivered, timer):
    return StreamBuffer(delivered.append, timer)


def test_the_first_piece_passes_at_once(buffer, delivered):
    buffer.add(TextDelta("r1", "A"))
    assert delivered == [TextDelta("r1", "A")]


def test_later_pieces_wait_for_the_timer_and_come_as_one(buffer, delivered, timer):
    for letter in "Abcd":
        buffer.add(TextDelta("r1", letter, (TokenLogprob(ord(letter), -1.0),)))
    assert len(delivered) == 1
    timer.timeout.emit()
    assert [piece.text for piece in delivered] == ["A", "bcd"]
    assert [token.token_id for token in delivered[1].tokens] == [98, 99, 100]


def test_thinking_and_text_keep_their_order(buffer, delivered, timer):
    pieces = [ThinkingDelta("r1", "a"), TextDelta("r1", "b"), ThinkingDelta("r1", "c"), TextDelta("r2", "d")]
    for piece in pieces:
        buffer.add(piece)
    timer.timeout.emit()
    assert delivered == pieces


def test_a_flush_delivers_the_rest_and_stops_the_timer(buffer, delivered, timer):
    buffer.add(TextDelta("r1", "a"))
    buffer.add(TextDelta("r1", "b"))
    buffer.flush()
    assert [piece.text for piece in delivered] == ["a", "b"]
    assert not timer.isActive()
    buffer.flush()
    assert len(delivered) == 2


def test_a_long_stream_is_delivered_some_thirty_times_a_second(buffer, delivered, timer, qtbot):
    assert 20 <= 1000 / timer.interval() <= 40
    for _ in range(1000):
        buffer.add(TextDelta("r1", "x"))
    qtbot.waitUntil(lambda: not timer.isActive())
    assert sum(len(piece.text) for piece in delivered) == 1000
    assert len(delivered) == 2
