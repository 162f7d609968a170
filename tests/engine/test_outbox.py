"""Exactly one terminal event each, in order, whatever the engine or a sink does."""

import logging

from engine.api.errors import Fault, MediaError
from engine.api.events import Accepted, Failed, Finished, FinishReason, TextDelta
from engine.outbox import Outbox


def opened(*names):
    outbox, received = Outbox(), {name: [] for name in names}
    for name in names:
        outbox.open(name, received[name].extend)
    return outbox, received


def test_events_arrive_in_order_and_in_one_batch_a_step():
    outbox, batches = Outbox(), []
    outbox.open("a", batches.append)
    outbox.emit(TextDelta("a", "x"))
    outbox.emit(TextDelta("a", "y"))
    outbox.flush(lambda name: None)
    assert batches == [(Accepted("a"), TextDelta("a", "x"), TextDelta("a", "y"))]


def test_nothing_follows_a_terminal_event():
    outbox, received = opened("a")
    outbox.emit(Finished("a", FinishReason.STOP))
    outbox.emit(Finished("a", FinishReason.CANCELLED))
    outbox.emit(TextDelta("a", "late"))
    outbox.fail("a", ValueError("late"))
    outbox.flush(lambda name: None)
    assert received["a"] == [Accepted("a"), Finished("a", FinishReason.STOP)]


def test_an_expected_error_keeps_its_words_and_its_fault():
    outbox, received = opened("a")
    outbox.fail("a", MediaError("No such file.", "Choose another."))
    assert received["a"][-1] == Failed("a", "bad_media", "No such file.", "Choose another.", Fault.USER, MediaError)


def test_an_unexpected_error_is_ours_and_is_logged(caplog):
    outbox, received = opened("a")
    with caplog.at_level(logging.ERROR, "fovea.engine"):
        outbox.fail("a", ZeroDivisionError("oops"))
    assert received["a"][-1].fault is Fault.ENGINE
    assert "ZeroDivisionError" in caplog.text


def test_running_out_of_memory_says_so():
    outbox, received = opened("a")
    outbox.fail("a", RuntimeError("[malloc] Unable to allocate 99 bytes."))
    assert received["a"][-1].code == "out_of_memory"
    assert "smaller" in received["a"][-1].hint


def test_a_sink_that_raises_harms_nobody_else(caplog):
    outbox, received = opened("good")
    outbox.open("bad", lambda events: 1 / 0)
    broken = []
    outbox.emit(TextDelta("good", "x"))
    outbox.flush(broken.append)
    assert broken == ["bad"]
    assert not outbox.is_open("bad")
    assert received["good"][-1] == TextDelta("good", "x")
