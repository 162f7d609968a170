"""The conversation: what is asked of the engine, and what becomes of what it answers."""

import pytest

from app.state.attachment import FileFacts
from app.state.attachments import AttachmentTray
from app.state.chat import ChatState
from app.state.chat_changes import (
    AnswerBegan,
    AnswerEnded,
    AnswerFailed,
    AnswerGrew,
    AnswerProgressed,
    Asked,
    Cleared,
    Hindered,
    ThinkingGrew,
    Unhindered,
)
from app.state.exchange import Outcome
from app.state.media_kinds import MediaKind
from app.state.senses import Senses
from engine.api.errors import Fault
from engine.api.events import Failed, Finished, FinishReason, Progress, Stage, TextDelta, ThinkingDelta
from engine.api.request import Image, Role, Text, Video
from tests.app.state.ports import NotingPort, collect


@pytest.fixture
def port():
    return NotingPort()


@pytest.fixture
def chat(port):
    return ChatState(port, AttachmentTray())


def answer(chat, port, text, reason=FinishReason.STOP):
    request_id = f"r{len(port.requests)}"
    if text:
        chat.take(TextDelta(request_id, text))
    chat.take(Finished(request_id, reason))


def spoken(port):
    """Role and text of each message of the last request."""
    return [(message.role, message.text) for message in port.requests[-1].prompt]


def test_one_question_from_sending_to_the_end(chat, port):
    changes = collect(chat.changed)
    assert chat.send("  What is this? ")
    assert chat.running
    progress = Progress("r1", Stage.PREFILL, 1, 2)
    finished = Finished("r1", FinishReason.STOP)
    for event in (progress, ThinkingDelta("r1", "Hm."), TextDelta("r1", "A "), TextDelta("r1", "cat."), finished):
        chat.take(event)
    assert changes == [
        Asked("What is this?", ()),
        AnswerBegan(again=False),
        AnswerProgressed(progress),
        ThinkingGrew("Hm."),
        AnswerGrew("A "),
        AnswerGrew("cat."),
        AnswerEnded(finished),
    ]
    assert not chat.running
    assert chat.exchanges[0].answer == "A cat."
    assert chat.exchanges[0].outcome is Outcome.COMPLETE


def test_nothing_is_sent_without_words_or_while_an_answer_runs(chat, port):
    assert not chat.send("  \n ")
    chat.send("One")
    assert not chat.send("Two")
    assert not chat.regenerate()
    assert len(port.requests) == 1


def test_pictures_alone_are_a_question(chat, port):
    chat.tray.add_picture(b"png", "Pasted.png")
    chat.send("")
    (message,) = port.requests[0].prompt
    assert message.parts == (Image(b"png", "Pasted.png"), Text("What is in this picture?"))
    assert chat.tray.items == ()


def test_the_whole_conversation_goes_each_time_with_its_pictures(chat, port):
    chat.tray.add_picture(b"one", "1.png")
    chat.send("What is this?")
    answer(chat, port, "A cat.")
    chat.tray.add_picture(b"two", "2.png")
    chat.send("And this?")
    first, reply, second = port.requests[-1].prompt
    assert first.parts == (Image(b"one", "1.png"), Text("What is this?"))
    assert (reply.role, reply.text) == (Role.ASSISTANT, "A cat.")
    assert second.parts == (Image(b"two", "2.png"), Text("And this?"))


def test_stopping_keeps_what_was_said(chat, port):
    chat.send("Tell me")
    chat.stop()
    assert port.cancelled == ["r1"]
    assert chat.running, "until the engine says that it has stopped"
    answer(chat, port, "Once", FinishReason.CANCELLED)
    assert chat.exchanges[0].outcome is Outcome.STOPPED
    chat.send("Go on")
    assert spoken(port) == [(Role.USER, "Tell me"), (Role.ASSISTANT, "Once"), (Role.USER, "Go on")]


def test_a_question_stopped_before_an_answer_joins_the_next_one(chat, port):
    chat.send("One")
    answer(chat, port, "", FinishReason.CANCELLED)
    chat.send("Two")
    assert spoken(port) == [(Role.USER, "One\n\nTwo")]


def test_a_failed_question_is_left_out_of_later_ones(chat, port):
    changes = collect(chat.changed)
    chat.send("Broken")
    failed = Failed("r1", "bad_media", "Not a picture.", "Take another.", Fault.USER)
    chat.take(failed)
    assert changes[-1] == AnswerFailed(failed)
    assert not chat.running
    chat.send("Whole")
    assert spoken(port) == [(Role.USER, "Whole")]


def test_answering_again_forgets_the_answer_and_repeats_the_question(chat, port):
    chat.send("What is this?")
    answer(chat, port, "A dog.")
    changes = collect(chat.changed)
    assert chat.regenerate()
    assert changes == [AnswerBegan(again=True)]
    assert spoken(port) == [(Role.USER, "What is this?")]
    answer(chat, port, "A cat.")
    assert chat.exchanges[0].answer == "A cat."


def test_a_failed_question_can_be_tried_again(chat, port):
    chat.send("Hello")
    chat.take(Failed("r1", "no_model", "No model is loaded.", "", Fault.USER))
    assert chat.regenerate()
    assert spoken(port) == [(Role.USER, "Hello")]


def test_a_new_chat_no_longer_listens_to_the_old_one(chat, port):
    chat.send("One")
    changes = collect(chat.changed)
    chat.clear()
    assert port.cancelled == ["r1"]
    chat.take(TextDelta("r1", "late"))
    chat.take(Finished("r1", FinishReason.CANCELLED))
    assert changes == [Cleared()]
    assert chat.exchanges == ()
    chat.send("Two")
    assert spoken(port) == [(Role.USER, "Two")]


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "dog.mp4"
    path.write_bytes(b"mp4")
    return path


def media(port):
    """Of the last request, without the words."""
    return [part for message in port.requests[-1].prompt for part in message.parts if not isinstance(part, Text)]


def test_a_clip_goes_as_what_the_model_takes_each_time(chat, port, clip):
    chat.tray.set_senses(Senses(True, False))
    chat.tray.add_files([clip])
    chat.tray.set_frames(chat.tray.items[0].key, 4)
    chat.send("")
    assert media(port) == [Video(clip, "dog.mp4", as_pictures=4)]
    assert spoken(port) == [(Role.USER, "What happens in this clip?")]
    answer(chat, port, "A dog runs.")
    chat.tray.set_senses(Senses(True, True))
    chat.send("And then?")
    assert media(port) == [Video(clip, "dog.mp4")]


def test_a_question_in_whose_way_something_is_is_kept_and_goes_once_it_is_gone(chat, port, clip):
    chat.tray.set_senses(Senses(False, False))
    chat.tray.add_files([clip])
    changes = collect(chat.changed)
    assert not chat.send("What happens?")
    (hindered,) = changes
    assert isinstance(hindered, Hindered)
    assert len(chat.tray.items) == 1
    assert port.requests == []
    chat.tray.set_senses(None)
    assert changes == [hindered], "still in the way, for another reason"
    chat.tray.set_senses(Senses(True, False))
    assert changes == [hindered, Unhindered(hindered.obstacle)]
    assert chat.send("What happens?")


def test_removing_what_is_in_the_way_is_another_way_out(chat, port, clip):
    chat.tray.add_files([clip])
    assert not chat.send("Hello")
    changes = collect(chat.changed)
    chat.tray.remove(chat.tray.items[0].key)
    assert isinstance(changes[-1], Unhindered)
    assert chat.send("Hello")


def test_a_clip_of_an_earlier_turn_that_has_vanished_is_told_before_anything_is_sent(chat, port, clip):
    chat.tray.set_senses(Senses(True, True))
    chat.tray.add_files([clip])
    chat.send("What happens?")
    answer(chat, port, "A dog runs.")
    clip.unlink()
    changes = collect(chat.changed)
    assert not chat.send("And then?")
    assert not chat.regenerate()
    assert len(port.requests) == 1
    assert {change.obstacle.message for change in changes} == {"“dog.mp4” is no longer where it was."}
    assert chat.exchanges[0].answer == "A dog runs."


def test_content_that_is_read_after_sending_goes_with_the_next_turn(chat, port, tmp_path):
    picture = tmp_path / "cat.png"
    picture.write_bytes(b"png")
    chat.tray.add_files([picture])
    key = chat.tray.items[0].key
    chat.send("What is this?")
    assert media(port) == [Image(picture, "cat.png")], "the engine reads it; nobody waits here"
    chat.learn(key, FileFacts(MediaKind.PICTURE, data=b"png"))
    answer(chat, port, "A cat.")
    picture.unlink()
    chat.send("Sure?")
    assert media(port) == [Image(b"png", "cat.png")]
