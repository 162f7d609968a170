"""The whole app with an engine that answers from scripts: what a person does, and what they then see."""

import dataclasses
import threading
import time
from pathlib import Path

import pytest
from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices, QFileOpenEvent, QGuiApplication
from PySide6.QtWidgets import QApplication, QFileDialog

from app.application import slot_excepthook
from app.file_opener import FileOpener
from app.state.exchange import Outcome
from engine.api.errors import MediaError
from engine.api.events import Finished, FinishReason, Modality, Progress, Stage, Status, TextDelta, ThinkingDelta
from engine.api.request import GenerateRequest, Image, LoadModel, PullModel, Role, Text, Video
from tests.app.clips import write_clip, write_gif
from tests.app.drags import drop, holding
from tests.app.pictures import draw_image
from tests.fake_engine import INFO, TIMINGS, USAGE, WAIT, fail, speak, speak_until_cancelled


def ask(app, qtbot, text):
    app.page.composer.edit.setPlainText(text)
    qtbot.keyClick(app.page.composer.edit, Qt.Key.Key_Return)


def wait_for_answer(app, qtbot):
    qtbot.waitUntil(lambda: not app.chat.running)


def questions(app):
    return [request for request in app.fake.requests if isinstance(request, GenerateRequest)]


def drop_files(app, *paths):
    drop(app.page, holding(*paths))


def attach(app, qtbot, *paths):
    """Drops them, and waits until they have been read."""
    drop_files(app, *paths)
    qtbot.waitUntil(lambda: all(item.data or item.duration for item in app.chat.tray.items))


def wait_until_ready(app, qtbot):
    qtbot.waitUntil(lambda: app.chat.tray.senses is not None)


def loads(*modalities):
    """A model that takes these."""

    def load(request_id, request):
        info = dataclasses.replace(INFO, source=request.source, modalities=frozenset(modalities))
        yield Status(request_id, info, 540_000_000, 0, 0)
        yield Finished(request_id, FinishReason.DONE, model=info)

    return load


TEXT, IMAGE, AUDIO, VIDEO = Modality


@pytest.fixture
def transcript_calls(monkeypatch):
    """What the transcript is told, in order."""
    from app.widgets.transcript import TranscriptView

    calls = []

    def noting(name, original):
        def call(self, *arguments):
            calls.append((name, *arguments))
            return original(self, *arguments)

        return call

    for name in ("begin_answer", "append_answer", "append_thinking", "finish_answer", "fail_answer", "clear"):
        monkeypatch.setattr(TranscriptView, name, noting(name, getattr(TranscriptView, name)))
    return calls


def test_a_dropped_picture_is_asked_about_and_answered(open_app, qtbot, picture):
    app = open_app()
    assert app.page.shows_welcome
    attach(app, qtbot, picture)
    assert len(app.page.composer.chips.chips) == 1
    ask(app, qtbot, "What is this?")
    assert not app.page.shows_welcome
    wait_for_answer(app, qtbot)
    assert app.chat.exchanges[0].answer == "Hello world"
    (message,) = questions(app)[0].prompt
    assert message.parts == (Image(picture.read_bytes(), "red.png"), Text("What is this?"))
    assert app.page.composer.edit.toPlainText() == ""
    assert app.page.composer.chips.chips == ()
    assert app.page.transcript.turns[1].footer.text() == "20.0 tokens/s · first token after 0.2 s · 2 tokens"
    assert app.page.status.context == "9 of 2,048 tokens of context used"


def test_a_second_question_with_a_second_picture_carries_the_first_though_its_file_is_gone(
    open_app, qtbot, picture, tmp_path
):
    app = open_app()
    red = picture.read_bytes()
    second = tmp_path / "blue.png"
    draw_image("blue").save(str(second))
    attach(app, qtbot, picture)
    picture.unlink()
    ask(app, qtbot, "What is this?")
    wait_for_answer(app, qtbot)
    attach(app, qtbot, second)
    ask(app, qtbot, "And this?")
    wait_for_answer(app, qtbot)
    messages = questions(app)[1].prompt
    assert [message.role for message in messages] == [Role.USER, Role.ASSISTANT, Role.USER]
    sent = [message.parts[0] for message in messages[::2]]
    assert sent == [Image(red, "red.png"), Image(second.read_bytes(), "blue.png")]


def test_streamed_pieces_reach_the_transcript_in_order(open_app, qtbot, transcript_calls):
    words = [f"{number} " for number in range(300)]

    def think_and_speak(request_id, request):
        yield ThinkingDelta(request_id, "Let me ")
        yield ThinkingDelta(request_id, "see.")
        for word in words:
            yield TextDelta(request_id, word)
        yield Finished(request_id, FinishReason.STOP, USAGE, TIMINGS)

    app = open_app({GenerateRequest: think_and_speak})
    ask(app, qtbot, "Count")
    wait_for_answer(app, qtbot)
    names = [call[0] for call in transcript_calls]
    assert names[0] == "begin_answer"
    assert names[-1] == "finish_answer"
    assert names.index("append_answer") > max(i for i, name in enumerate(names) if name == "append_thinking")
    assert "".join(call[1] for call in transcript_calls if call[0] == "append_answer") == "".join(words)
    assert names.count("append_answer") < 100, "pieces are joined"


@pytest.mark.parametrize("keys", ["escape", "ctrl+.", "button"])
def test_stop_and_ask_again(open_app, qtbot, keys):
    app = open_app({GenerateRequest: speak_until_cancelled("Once")})
    ask(app, qtbot, "Tell me a story")
    qtbot.waitUntil(lambda: app.chat.exchanges[0].answer == "Once")
    if keys == "escape":
        qtbot.keyClick(app.page.composer.edit, Qt.Key.Key_Escape)
    elif keys == "ctrl+.":
        qtbot.keyClick(app.window, Qt.Key.Key_Period, Qt.KeyboardModifier.ControlModifier)
    else:
        app.page.composer.send_button.click()
    wait_for_answer(app, qtbot)
    assert app.chat.exchanges[0].outcome is Outcome.STOPPED
    assert app.page.status.activity == ""
    assert app.page.composer.send_button.accessibleName() == "Send"
    ask(app, qtbot, "Go on")
    qtbot.waitUntil(lambda: len(questions(app)) == 2)
    assert [message.text for message in questions(app)[1].prompt] == ["Tell me a story", "Once", "Go on"]


def test_regenerating_asks_the_same_once_more(open_app, qtbot, picture):
    app = open_app()
    attach(app, qtbot, picture)
    ask(app, qtbot, "What is this?")
    wait_for_answer(app, qtbot)
    app.page.transcript.regenerate_requested.emit()
    qtbot.waitUntil(lambda: len(questions(app)) == 2)
    wait_for_answer(app, qtbot)
    assert questions(app)[0].prompt == questions(app)[1].prompt
    assert len(app.chat.exchanges) == 1


def test_an_error_is_a_banner_with_what_to_do_and_the_window_goes_on(open_app, qtbot, picture, transcript_calls):
    scripts = iter([fail(MediaError("“red.png” is cut short.", "Export it again.")), speak("Fine")])
    app = open_app({GenerateRequest: lambda request_id, request: next(scripts)(request_id, request)})
    app.page.attach_files([picture])
    ask(app, qtbot, "What is this?")
    wait_for_answer(app, qtbot)
    banner = app.page.banner
    assert banner.isVisible()
    assert (banner.message, banner.hint) == ("“red.png” is cut short.", "Export it again.")
    assert transcript_calls[-1] == ("fail_answer", "“red.png” is cut short.")
    banner.dismiss_button.click()
    assert not banner.isVisible()
    ask(app, qtbot, "And now?")
    wait_for_answer(app, qtbot)
    assert [message.text for message in questions(app)[1].prompt] == ["And now?"]
    assert app.chat.exchanges[1].answer == "Fine"


def test_markup_in_an_error_is_shown_as_it_is(open_app):
    app = open_app()
    app.page.banner.show_error("<b>bold</b> <img src=x>")
    assert app.page.banner.message == "<b>bold</b> <img src=x>"
    labels = app.page.banner.findChildren(type(app.page.banner.message_label))
    assert {label.textFormat() for label in labels} == {Qt.TextFormat.PlainText}


def test_refused_files_are_named_in_the_banner_and_the_rest_is_taken(open_app, picture, tmp_path):
    app = open_app()
    notes = tmp_path / "notes.txt"
    notes.write_text("hello")
    drop_files(app, notes, picture)
    assert "notes.txt" in app.page.banner.message
    assert len(app.page.composer.chips.chips) == 1


def test_a_chip_can_be_removed_before_sending(open_app, qtbot, picture):
    app = open_app()
    app.page.attach_files([picture])
    (chip,) = app.page.composer.chips.chips
    chip.remove_button.click()
    assert app.chat.tray.items == ()
    assert app.page.composer.chips.chips == ()
    assert not app.page.composer.send_button.isEnabled()


def test_pasting_a_screenshot_works_wherever_the_focus_is(open_app, qtbot):
    app = open_app()
    QGuiApplication.clipboard().setImage(draw_image("green"))
    app.window.new_button.setFocus()
    qtbot.keyClick(app.window, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    (item,) = app.chat.tray.items
    assert item.name == "Pasted picture 1.png"
    assert item.source.startswith(b"\x89PNG")


def test_files_named_on_the_command_line_arrive_as_attachments(open_app, picture, tmp_path):
    app = open_app(pictures=[picture, tmp_path / "gone.png"])
    assert [item.source for item in app.chat.tray.items] == [picture]
    assert "gone.png" in app.page.banner.message


def test_files_opened_from_the_finder_arrive_as_attachments(open_app, qapp, picture):
    app = open_app()
    opener = FileOpener()
    opener.opened.connect(app.page.attach_files)
    qapp.installEventFilter(opener)
    QApplication.sendEvent(qapp, QFileOpenEvent(QUrl.fromLocalFile(str(picture))))
    qapp.removeEventFilter(opener)
    assert [item.source for item in app.chat.tray.items] == [picture]


def test_files_can_be_chosen_in_a_dialog(open_app, picture, monkeypatch):
    app = open_app()
    asked = []

    def choose(parent, title, folder, patterns):
        asked.append(patterns)
        return [str(picture)], patterns

    monkeypatch.setattr(QFileDialog, "getOpenFileNames", choose)
    app.page.composer.attach_button.click()
    assert [item.source for item in app.chat.tray.items] == [picture]
    assert "*.heic" in asked[0]
    assert "*.webm" in asked[0]


def test_the_sample_button_fills_in_a_picture_and_a_question(open_app, qtbot):
    app = open_app()
    app.page.welcome.sample_button.click()
    assert len(app.chat.tray.items) == 1
    qtbot.keyClick(app.page.composer.edit, Qt.Key.Key_Return)
    wait_for_answer(app, qtbot)
    assert questions(app)[0].prompt[0].text == "What is this?"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg"])
def test_a_dropped_clip_goes_whole_to_a_model_that_takes_clips(open_app, qtbot, tmp_path, suffix):
    app = open_app({LoadModel: loads(TEXT, IMAGE, VIDEO)})
    wait_until_ready(app, qtbot)
    clip = write_clip(tmp_path / f"dog{suffix}")
    attach(app, qtbot, clip)
    assert not app.page.composer.chips.chips[0].frames_button.isVisible()
    ask(app, qtbot, "What happens?")
    wait_for_answer(app, qtbot)
    assert questions(app)[0].prompt[0].parts == (Video(clip, f"dog{suffix}"), Text("What happens?"))
    (thumbnail,) = app.page.transcript.turns[0].thumbnails
    qtbot.waitUntil(lambda: thumbnail.accessibleName() == "Clip 1 of 1, 0:02")


def test_a_clip_becomes_pictures_for_a_model_that_takes_no_clips(open_app, qtbot, tmp_path):
    app = open_app()
    wait_until_ready(app, qtbot)
    clip = write_clip(tmp_path / "dog.mp4")
    attach(app, qtbot, clip)
    (chip,) = app.page.composer.chips.chips
    chip.frames_button.menu().actions()[2].trigger()
    assert chip.frames_button.text() == "16 frames, as pictures"
    ask(app, qtbot, "What happens?")
    wait_for_answer(app, qtbot)
    assert questions(app)[0].prompt[0].parts[0] == Video(clip, "dog.mp4", as_pictures=16)


def test_a_moving_gif_is_a_clip_that_needs_its_file_no_more(open_app, qtbot, tmp_path):
    app = open_app()
    wait_until_ready(app, qtbot)
    gif = write_gif(tmp_path / "moving.gif")
    content = gif.read_bytes()
    attach(app, qtbot, gif)
    gif.unlink()
    assert app.page.composer.chips.chips[0].frames_button.isVisible()
    ask(app, qtbot, "What happens?")
    wait_for_answer(app, qtbot)
    assert questions(app)[0].prompt[0].parts[0] == Video(content, "moving.gif", as_pictures=8)


def test_another_model_sees_what_waits_with_other_eyes(open_app, qtbot, tmp_path):
    app = open_app({LoadModel: lambda i, r: loads(*{"starter": (TEXT,), "sees": (TEXT, IMAGE)}[r.source])(i, r)})
    wait_until_ready(app, qtbot)
    attach(app, qtbot, write_clip(tmp_path / "dog.mp4"))
    (chip,) = app.page.composer.chips.chips
    ask(app, qtbot, "What happens?")
    banner = app.page.banner
    assert banner.message == "This model does not take clips."
    assert "another model" in banner.hint
    assert app.page.composer.edit.toPlainText() == "What happens?", "nothing is lost"
    assert (questions(app), app.page.shows_welcome) == ([], True)
    app.models.load("sees")
    qtbot.waitUntil(chip.frames_button.isVisible)
    assert not banner.isVisible()
    qtbot.keyClick(app.page.composer.edit, Qt.Key.Key_Return)
    wait_for_answer(app, qtbot)
    assert len(questions(app)) == 1


def test_a_clip_that_has_vanished_is_told_before_anything_is_sent(open_app, qtbot, tmp_path):
    app = open_app()
    wait_until_ready(app, qtbot)
    clip = write_clip(tmp_path / "dog.mp4")
    attach(app, qtbot, clip)
    clip.unlink()
    ask(app, qtbot, "What happens?")
    assert app.page.banner.message == "“dog.mp4” is no longer where it was."
    assert questions(app) == []
    app.page.composer.chips.chips[0].remove_button.click()
    assert not app.page.banner.isVisible()


def test_a_sent_clip_is_played_by_the_systems_own_player(open_app, qtbot, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()) or len(opened) == 1)
    app = open_app()
    wait_until_ready(app, qtbot)
    clip = write_clip(tmp_path / "dog.mp4")
    attach(app, qtbot, clip)
    ask(app, qtbot, "What happens?")
    wait_for_answer(app, qtbot)
    (thumbnail,) = app.page.transcript.turns[0].thumbnails
    qtbot.keyClick(thumbnail, Qt.Key.Key_Return)
    assert opened == [str(clip)]
    assert not app.page.banner.isVisible()
    thumbnail.click()
    assert "cannot be played" in app.page.banner.message
    clip.unlink()
    thumbnail.click()
    assert "no longer where it was" in app.page.banner.message
    assert len(opened) == 2


def test_what_the_engine_noted_stands_under_the_answer(open_app, qtbot):
    def answer(request_id, request):
        yield TextDelta(request_id, "A dog.")
        yield Finished(request_id, FinishReason.STOP, USAGE, TIMINGS, notes=("dog.mp4 is damaged.",))

    app = open_app({GenerateRequest: answer})
    ask(app, qtbot, "What happens?")
    wait_for_answer(app, qtbot)
    (note,) = app.page.transcript.turns[1].notes
    assert note.toPlainText() == "dog.mp4 is damaged."


def test_sending_reads_no_file_on_the_windows_thread(open_app, qtbot, picture, monkeypatch):
    app = open_app()
    readers = []
    original = Path.open

    def noting(path, *arguments, **options):
        if path == picture:
            readers.append(threading.current_thread())
        return original(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", noting)
    attach(app, qtbot, picture)
    ask(app, qtbot, "What is this?")
    wait_for_answer(app, qtbot)
    (thumbnail,) = app.page.transcript.turns[0].thumbnails
    qtbot.waitUntil(lambda: thumbnail.width() == 32)
    assert readers
    assert threading.main_thread() not in readers


def test_a_new_chat_begins_empty(open_app, qtbot, picture):
    app = open_app({GenerateRequest: speak_until_cancelled("Once")})
    app.page.attach_files([picture])
    ask(app, qtbot, "Hello")
    qtbot.waitUntil(lambda: app.chat.exchanges[0].answer == "Once")
    app.window.new_button.click()
    assert app.page.shows_welcome
    assert app.chat.exchanges == ()
    assert app.page.composer.send_button.accessibleName() == "Send"


def test_the_last_answer_can_be_copied(open_app, qtbot):
    app = open_app()
    ask(app, qtbot, "Hello")
    wait_for_answer(app, qtbot)
    keys = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    qtbot.keyClick(app.window, Qt.Key.Key_C, keys)
    assert QGuiApplication.clipboard().text() == "Hello world"


def test_a_question_may_be_asked_while_the_model_loads(open_app, qtbot):
    loaded = threading.Event()

    def load_when_told(request_id, request):
        yield Progress(request_id, Stage.LOADING, 1, 2)
        loaded.wait(30)
        yield Finished(request_id, FinishReason.DONE)

    app = open_app({LoadModel: load_when_told})
    qtbot.waitUntil(lambda: app.models.activity.progress is not None)
    ask(app, qtbot, "Hello")
    assert app.chat.running
    loaded.set()
    wait_for_answer(app, qtbot)
    assert app.chat.exchanges[0].answer == "Hello world"


@pytest.mark.parametrize("busy", [GenerateRequest, LoadModel, PullModel])
def test_quitting_while_the_engine_works_ends_within_two_seconds(open_app, qtbot, busy):
    app = open_app({busy: speak_until_cancelled("On and on")})
    if busy is PullModel:
        app.models.download("lab/large")
    ask(app, qtbot, "Tell me everything")
    qtbot.waitUntil(lambda: any(isinstance(request, busy) for request in app.fake.requests))
    began = time.perf_counter()
    app.window.close()
    assert app.shut_down()
    assert time.perf_counter() - began < 2


def test_an_engine_that_does_not_end_is_not_waited_for(open_app, qtbot, monkeypatch):
    monkeypatch.setattr("app.application.SHUT_DOWN_MS", 50)
    release = threading.Event()

    def deep_in_a_library(request_id, request):
        release.wait(30)
        yield WAIT

    app = open_app({GenerateRequest: deep_in_a_library})
    ask(app, qtbot, "Hello")
    qtbot.waitUntil(lambda: len(questions(app)) == 1)
    assert not app.shut_down()
    release.set()
    monkeypatch.undo()


def test_the_model_used_last_is_loaded_next_time(open_app, qtbot, preferences):
    first = open_app(model="lab/small")
    qtbot.waitUntil(lambda: first.models.loaded is not None and first.models.activity is None)
    assert preferences.last_model == "lab/small"
    second = open_app()
    qtbot.waitUntil(lambda: bool(second.fake.requests))
    assert second.fake.requests[0] == LoadModel("lab/small")


def test_the_window_comes_back_where_it_was(open_app):
    first = open_app()
    first.window.resize(700, 600)
    first.window.close()
    assert open_app().window.size().toTuple() == (700, 600)


def test_a_bug_in_a_slot_is_logged_and_told_in_a_sentence(open_app, caplog):
    app = open_app()
    error = ZeroDivisionError("division by zero")
    slot_excepthook(app.report_bug)(type(error), error, None)
    assert app.page.banner.isVisible()
    assert "went wrong" in app.page.banner.message
    assert "Traceback" not in app.page.banner.message + app.page.banner.hint
    assert "division by zero" in caplog.text


def test_tab_leads_from_the_question_through_the_buttons_to_the_model(open_app, qtbot):
    app = open_app()
    app.page.composer.set_text("hello")
    composer, window = app.page.composer, app.window
    composer.edit.setFocus()
    above = (window.picker.button, window.api_button, window.new_button)
    for expected in (composer.send_button, composer.attach_button, *above):
        qtbot.keyClick(window.focusWidget(), Qt.Key.Key_Tab)
        assert window.focusWidget() is expected


def test_tab_reaches_every_part_of_a_clips_chip_in_its_order(open_app, qtbot, tmp_path):
    app = open_app()
    wait_until_ready(app, qtbot)
    attach(app, qtbot, write_clip(tmp_path / "dog.mp4"))
    (chip,) = app.page.composer.chips.chips
    reached = []
    app.page.composer.edit.setFocus()
    for _ in range(30):
        qtbot.keyClick(app.window.focusWidget(), Qt.Key.Key_Tab)
        reached.append(app.window.focusWidget())
    places = [reached.index(widget) for widget in (chip, chip.frames_button, chip.remove_button)]
    assert places == [places[0], places[0] + 1, places[0] + 2]
