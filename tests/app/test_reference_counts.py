"""Signals keep no references: PySide6 6.12.0 lost one to `True` and `None` on each emit, until the interpreter died."""

import sys

from PySide6.QtCore import QObject, QTimer, Signal

from app.bridge import Bridge
from engine.api.events import TextDelta
from engine.client import EngineClient
from engine.inbox import Inbox

EMITS = 20_000
SLACK = 200
"""What anything else in the process may move; a leak would be a hundred times that."""


class Sender(QObject):
    told = Signal(bool)
    handed = Signal(object)


def counts():
    return sys.getrefcount(True), sys.getrefcount(None)


def assert_stable(run):
    before = counts()
    run()
    after = counts()
    assert all(abs(now - then) < SLACK for now, then in zip(after, before, strict=True)), (before, after)


def test_emitting_keeps_no_reference(qapp):
    sender = Sender()
    sender.told.connect(lambda value: None)
    sender.handed.connect(lambda value: None)

    def emit():
        for _ in range(EMITS):
            sender.told.emit(True)
            sender.handed.emit(None)

    assert_stable(emit)


def test_calling_void_functions_keeps_no_reference(qapp):
    timer = QTimer()

    def call():
        for _ in range(EMITS):
            timer.setSingleShot(True)

    assert_stable(call)


def test_the_bridge_keeps_no_reference(qtbot):
    bridge = Bridge(EngineClient(Inbox()))
    heard = []
    bridge.text_arrived.connect(lambda event: heard.append(event.text))
    events = (TextDelta("r1", "x"),)

    def stream():
        for _ in range(EMITS):
            bridge.sink(events)
        qtbot.waitUntil(lambda: len(heard) == EMITS, timeout=30_000)

    stream()
    heard.clear()
    before = sys.getrefcount(events)
    assert_stable(stream)
    assert sys.getrefcount(events) == before
