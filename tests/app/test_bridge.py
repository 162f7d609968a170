"""The engine's events arrive on the window's thread, each under its own name, in order."""

import threading

from PySide6.QtCore import QThread

from app.bridge import Bridge
from engine.api.errors import Fault
from engine.api.events import (
    Accepted,
    Failed,
    Finished,
    FinishReason,
    Progress,
    Stage,
    Status,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)
from engine.api.request import ListModels
from engine.client import EngineClient
from engine.inbox import Inbox

EVENTS = (
    Accepted("r1"),
    Progress("r1", Stage.PREFILL, 1, 2),
    ThinkingDelta("r1", "Hm"),
    TextDelta("r1", "Yes"),
    ToolCallDelta("r1", 0, "look", "{}"),
    Status("r1", None, 0, 0, 0),
    Failed("r1", "code", "message", "hint", Fault.USER),
    Finished("r1", FinishReason.STOP),
)


NAMES = [
    "accepted",
    "progressed",
    "thinking_arrived",
    "text_arrived",
    "tool_called",
    "status_changed",
    "failed",
    "finished",
]


def listen(bridge):
    heard = []
    for name in NAMES:
        getattr(bridge, name).connect(lambda event, name=name: heard.append((name, event, QThread.isMainThread())))
    return heard


def test_each_kind_of_event_has_its_signal(qtbot):
    bridge = Bridge(EngineClient(Inbox()))
    heard = listen(bridge)
    thread = threading.Thread(target=bridge.sink, args=(EVENTS,))
    thread.start()
    thread.join()
    assert heard == [], "nothing is called on the engine's thread"
    qtbot.waitUntil(lambda: len(heard) == len(EVENTS))
    assert [event for _, event, _ in heard] == list(EVENTS)
    assert [name for name, _, _ in heard] == NAMES
    assert all(on_main for _, _, on_main in heard)


def test_a_closed_engine_answers_after_the_id_is_known(qtbot):
    client = EngineClient(Inbox())
    client.close()
    bridge = Bridge(client)
    heard = listen(bridge)
    assert bridge.submit(ListModels()) == "r1"
    assert heard == []
    qtbot.waitUntil(lambda: len(heard) == 2)
    assert [name for name, _, _ in heard] == ["accepted", "failed"]
