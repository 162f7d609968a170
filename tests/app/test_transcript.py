"""The conversation: turns, streaming, scrolling, copying, and what happens to links and pictures."""

import random
from pathlib import Path

import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QColor, QDesktopServices, QEnterEvent, QImage, QTextCursor, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from app.state.attachment import Attachment
from app.state.media_kinds import MediaKind
from app.theme import Theme
from app.thumbnails import ThumbnailLoader
from app.widgets.answer_text import AnswerText
from app.widgets.answer_turn import AnswerTurn
from app.widgets.code_bar import CodeBar
from app.widgets.media_offer import encode_png
from app.widgets.picture_dialog import PictureDialog
from app.widgets.text_pane import TextPane
from app.widgets.transcript import TranscriptView
from app.widgets.user_turn import UserTurn
from tests.app.clips import write_clip, write_gif
from tests.app.test_markdown_blocks import DOCUMENT


def settle() -> None:
    for _ in range(6):
        QApplication.processEvents()


@pytest.fixture
def view(qtbot) -> TranscriptView:
    Theme.light().apply(QApplication.instance())
    view = TranscriptView()
    qtbot.addWidget(view)
    view.resize(600, 400)
    view.show()
    qtbot.waitExposed(view)
    yield view
    view.findChild(ThumbnailLoader).close()


def ask(view: TranscriptView, answer: str = "Answer", question: str = "Question?") -> AnswerTurn:
    view.add_user_turn(question, [])
    view.begin_answer()
    view.append_answer(answer)
    view.finish_answer("10 tokens/s")
    settle()
    return view.turns[-1]


def picture(colour: str = "#ff00ff", width: int = 300, height: int = 200) -> QImage:
    image = QImage(width, height, QImage.Format.Format_RGB32)
    image.fill(QColor(colour))
    return image


def attached(image: QImage) -> Attachment:
    return Attachment(1, "Pasted.png", encode_png(image), 1)


def on_disk(path: Path, kind: MediaKind = MediaKind.PICTURE) -> Attachment:
    return Attachment(1, path.name, path, 1, kind)


@pytest.mark.parametrize("seed", range(5))
def test_streaming_in_any_pieces_ends_in_the_same_document(seed, qtbot):
    at_once, in_pieces = AnswerText(), AnswerText()
    for each in (at_once, in_pieces):
        qtbot.addWidget(each)
    at_once.append(DOCUMENT)
    at_once.finish()
    chance = random.Random(seed)
    position = 0
    while position < len(DOCUMENT):
        step = chance.randint(1, 12)
        in_pieces.append(DOCUMENT[position : position + step])
        position += step
    in_pieces.finish()
    assert in_pieces.source == at_once.source == DOCUMENT
    assert in_pieces.committed.toHtml() == at_once.committed.toHtml()
    assert in_pieces.live is None


def test_only_the_tail_changes_while_streaming(view):
    first = ask(view, "An earlier answer.\n\nWith two paragraphs.")
    view.add_user_turn("More?", [])
    view.begin_answer()
    view.append_answer("Committed.\n\nTail ")
    turn = view.turns[-1]
    settle()
    changes = []
    for pane in (first.text.committed, turn.text.committed):
        pane.document().contentsChanged.connect(lambda: changes.append(1))
    for _ in range(50):
        view.append_answer("word ")
    settle()
    assert changes == []
    assert turn.text.live.toPlainText().count("word") == 50


def test_a_turn_is_selectable_as_a_whole(view):
    turn = ask(view, "# Title\n\ntext\n\n```py\nx = 1\n```\n\n- item")
    turn.text.committed.selectAll()
    selected = turn.text.committed.textCursor().selectedText().replace("\u2029", "\n")
    assert [line for line in selected.split("\n") if line] == ["Title", "text", "x = 1", "item"]


def test_user_turn_shows_plain_text(view):
    view.add_user_turn("**not bold** <img src=file:///etc/passwd>", [])
    turn = view.turns[0]
    assert isinstance(turn, UserTurn)
    assert turn.pane.toPlainText() == "**not bold** <img src=file:///etc/passwd>"


def test_copying_an_answer_gives_its_markdown(view, qtbot):
    turn = ask(view, "**bold** text")
    with qtbot.waitSignal(view.copy_requested) as copied:
        qtbot.mouseClick(turn.copy_button, Qt.MouseButton.LeftButton)
    assert copied.args == ["**bold** text"]


def test_copying_by_keyboard(view, qtbot):
    turn = ask(view, "text")
    turn.copy_button.setFocus(Qt.FocusReason.TabFocusReason)
    with qtbot.waitSignal(view.copy_requested) as copied:
        qtbot.keyClick(turn.copy_button, Qt.Key.Key_Space)
    assert copied.args == ["text"]


def test_each_code_block_can_be_copied(view, qtbot):
    turn = ask(view, "```py\na = 1\n```\n\nand\n\n1. this\n   ```\n   b\n   ```\n")
    bars = turn.text.committed.findChildren(CodeBar)
    copied: list[str] = []
    view.copy_requested.connect(copied.append)
    for bar in bars:
        assert bar.isVisible()
        assert turn.text.committed.viewport().rect().contains(bar.geometry())
        qtbot.mouseClick(bar.button, Qt.MouseButton.LeftButton)
    assert copied == ["a = 1", "b"]


def test_code_is_copied_only_when_it_is_complete(view):
    view.begin_answer()
    view.append_answer("```py\na = 1\n")
    settle()
    (bar,) = view.turns[-1].text.live.findChildren(CodeBar)
    assert bar.isVisible()
    assert not bar.button.isVisible()


def test_old_answers_show_their_buttons_only_under_the_mouse(view):
    first, last = ask(view), ask(view)
    assert last.copy_button.is_revealed
    assert not first.copy_button.is_revealed
    assert not first.again_button.isVisible()
    point = QPointF(5, 5)
    first.setAttribute(Qt.WidgetAttribute.WA_UnderMouse)
    QApplication.sendEvent(first, QEnterEvent(point, point, point))
    assert first.copy_button.is_revealed
    first.setAttribute(Qt.WidgetAttribute.WA_UnderMouse, on=False)
    QApplication.sendEvent(first, QEvent(QEvent.Type.Leave))
    assert not first.copy_button.is_revealed


def test_answering_again_takes_the_place_of_the_last_answer(view, qtbot):
    turn = ask(view, "first try")
    with qtbot.waitSignal(view.regenerate_requested):
        qtbot.mouseClick(turn.again_button, Qt.MouseButton.LeftButton)
    view.begin_answer()
    view.append_answer("second try")
    assert len(view.turns) == 2
    assert view.turns[-1].text.source == "second try"


def test_thinking_is_folded_away(view, qtbot):
    view.begin_answer()
    view.append_thinking("Hmm, <b>let me</b> see.")
    panel = view.turns[-1].thinking
    settle()
    assert panel.isVisible()
    assert not panel.pane.isVisible()
    assert panel.fold.text() == "Thinking…"
    view.append_answer("It is red.")
    assert panel.fold.text() == "Thoughts"
    qtbot.mouseClick(panel.fold, Qt.MouseButton.LeftButton)
    assert panel.pane.isVisible()
    assert panel.pane.toPlainText() == "Hmm, <b>let me</b> see."
    assert view.turns[-1].text.source == "It is red."


def test_busy_goes_when_the_answer_begins(view):
    view.begin_answer()
    view.set_busy("Reading the prompt… 40 %")
    settle()
    busy = view.turns[-1].busy
    assert busy.isVisible()
    assert busy.accessibleName() == "Reading the prompt… 40 %"
    view.append_answer("a")
    assert not busy.isVisible()


def test_failure_keeps_what_was_written(view):
    view.begin_answer()
    view.append_answer("half an ans")
    view.fail_answer("The model ran out of memory.")
    turn = view.turns[-1]
    settle()
    assert turn.error.isVisible()
    assert turn.error.toPlainText() == "The model ran out of memory."
    assert turn.text.committed.toPlainText().strip() == "half an ans"
    assert not turn.busy.isVisible()


def test_stopping_says_so(view):
    view.begin_answer()
    view.append_answer("half")
    view.stop_answer("")
    assert view.turns[-1].footer.text() == "Stopped"


def test_nothing_answered_leaves_nothing_to_copy(view):
    view.begin_answer()
    view.stop_answer("Stopped")
    settle()
    assert not view.turns[-1].copy_button.isVisible()


def test_clear_removes_every_turn(view):
    ask(view)
    view.add_user_turn("x", [attached(picture())])
    view.clear()
    settle()
    assert view.turns == ()
    ask(view)
    assert len(view.turns) == 2


def test_sticks_to_the_end_until_somebody_scrolls_up(view):
    bar = view.scroll.verticalScrollBar()
    view.begin_answer()
    for number in range(40):
        view.append_answer(f"Paragraph {number}\n\n")
    settle()
    assert bar.maximum() > 0
    assert bar.value() == bar.maximum()
    assert not view.jump_button.isVisible()
    bar.setValue(10)
    for number in range(20):
        view.append_answer(f"More {number}\n\n")
    settle()
    assert bar.value() == 10
    assert view.jump_button.isVisible()
    QTest.mouseClick(view.jump_button, Qt.MouseButton.LeftButton)
    view.append_answer("And more\n\n" * 10)
    settle()
    assert bar.value() == bar.maximum()
    assert not view.jump_button.isVisible()


def test_the_wheel_is_left_to_the_conversation(view):
    pane = ask(view, "Paragraph\n\n" * 60).text.committed
    point = QPointF(10, 10)
    wheel = QWheelEvent(
        point, pane.viewport().mapToGlobal(point), QPoint(), QPoint(0, 120),
        Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(pane.viewport(), wheel)
    assert not wheel.isAccepted()
    assert pane.verticalScrollBar().maximum() == 0


@pytest.mark.parametrize(
    "answer",
    [
        "x" * 500,
        "```\n" + "y" * 500 + "\n```",
        "|" + " column with words |" * 14 + "\n|" + "---|" * 14 + "\n|" + " value |" * 14,
        "- " * 20 + "deep",
        ">" * 30 + " deep",
        "https://example.org/" + "z" * 400,
    ],
)
def test_nothing_makes_the_window_wider(view, answer):
    ask(view, answer, question="w" * 400)
    view.fail_answer("e" * 400)
    view.resize(320, 400)
    settle()
    assert view.width() == 320
    assert view.scroll.widget().width() == view.scroll.viewport().width()
    for turn in view.turns:
        assert turn.geometry().right() <= view.scroll.viewport().width()
        for pane in turn.findChildren(TextPane):
            assert pane.document().size().width() <= pane.viewport().width() + 1


def test_pictures_are_thumbnails_that_open_larger(view, qtbot):
    view.add_user_turn("What is this?", [attached(picture()), attached(picture("#00ff00", 20, 2000))])
    first, second = view.turns[0].thumbnails
    qtbot.waitUntil(lambda: second.height() > 100)
    assert first.accessibleName() == "Picture 1 of 2"
    assert first.width() <= 220
    assert second.height() <= 180
    assert first.grab().toImage().pixelColor(first.width() // 2, first.height() // 2) == QColor("#ff00ff")
    qtbot.keyClick(first, Qt.Key.Key_Return)
    (dialog,) = view.findChildren(PictureDialog)
    assert dialog.isVisible()
    qtbot.keyClick(dialog, Qt.Key.Key_Escape)
    assert not dialog.isVisible()


def test_a_picture_on_disk_appears_when_it_was_read(view, qtbot, tmp_path):
    path = tmp_path / "picture.png"
    picture("#00ff00").save(str(path))
    view.add_user_turn("", [on_disk(path), on_disk(tmp_path / "gone.png")])
    first, second = view.turns[0].thumbnails
    qtbot.waitUntil(lambda: first.width() == 220)
    qtbot.mouseClick(second, Qt.MouseButton.LeftButton)
    assert view.findChildren(PictureDialog) == []


def test_a_clip_is_its_poster_with_its_length_and_a_click_asks_to_play_it(view, qtbot, tmp_path):
    path = write_clip(tmp_path / "dog.mp4", size=(320, 240))
    view.add_user_turn("", [on_disk(path, MediaKind.CLIP), on_disk(tmp_path / "gone.mp4", MediaKind.CLIP)])
    clip, gone = view.turns[0].thumbnails
    assert (clip.accessibleName(), clip.toolTip()) == ("Clip 1 of 2", "Play")
    qtbot.waitUntil(lambda: clip.accessibleName() == "Clip 1 of 2, 0:02")
    settle()
    image = clip.grab().toImage()
    poster, mark = image.pixelColor(30, 30), image.pixelColor(image.width() // 2, image.height() // 2)
    assert poster.green() > 150 > poster.red()
    assert mark == QColor("white")
    with qtbot.waitSignal(view.play_requested) as asked:
        qtbot.keyClick(clip, Qt.Key.Key_Return)
    assert asked.args == [path]
    assert gone.is_clip


def test_a_moving_gif_turns_out_to_be_a_clip(view, qtbot, tmp_path):
    gif = write_gif(tmp_path / "moving.gif")
    view.add_user_turn("", [on_disk(gif)])
    (thumbnail,) = view.turns[0].thumbnails
    assert not thumbnail.is_clip
    qtbot.waitUntil(lambda: thumbnail.is_clip)
    assert thumbnail.accessibleName() == "Picture 1 of 1, 0:01"


def test_notes_stand_quietly_under_the_answer_and_wrap(view):
    view.begin_answer()
    view.append_answer("A dog.")
    view.finish_answer("10 tokens/s", ("<b>dog.mp4</b> is damaged: " + "x" * 300, "And more."))
    settle()
    first, second = view.turns[-1].notes
    assert first.toPlainText().startswith("<b>dog.mp4</b> is damaged")
    assert second.toPlainText() == "And more."
    assert first.font().pointSizeF() < view.turns[-1].text.committed.font().pointSizeF()
    assert view.turns[-1].text.geometry().bottom() < first.geometry().top() < second.geometry().top()
    assert first.document().size().width() <= first.viewport().width() + 1


def link_click(view: TranscriptView, markdown: str, qtbot, monkeypatch) -> list[str]:
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toString()))
    pane = ask(view, markdown).text.committed
    at = pane.cursorRect(QTextCursor(pane.document().find("here"))).center()
    qtbot.mouseClick(pane.viewport(), Qt.MouseButton.LeftButton, pos=at - QPoint(4, 0))
    return opened


def test_a_click_on_a_web_address_opens_it(view, qtbot, monkeypatch):
    assert link_click(view, "[here](https://example.org/a)", qtbot, monkeypatch) == ["https://example.org/a"]


@pytest.mark.parametrize("address", ["javascript:alert(1)", "file:///etc/passwd", "data:text/html,x"])
def test_a_click_on_anything_else_opens_nothing(view, qtbot, monkeypatch, address):
    assert link_click(view, f"[here]({address})", qtbot, monkeypatch) == []


def test_a_pane_never_opens_what_is_not_safe(view, qtbot):
    pane = ask(view).text.committed
    with qtbot.assertNotEmitted(pane.link_activated):
        pane.anchorClicked.emit(QUrl("file:///etc/passwd"))
    assert pane.toPlainText().strip() == "Answer"


def test_a_picture_on_disk_named_in_an_answer_is_not_shown(view, tmp_path):
    path = tmp_path / "secret.png"
    picture().save(str(path))
    address = path.as_uri()
    turn = ask(view, f"![x]({address})\n\n<img src='{address}'>\n\n<img src='{path}'>\n\n![y]({path})")
    image = turn.grab().toImage()
    magenta = QColor("#ff00ff")
    assert all(image.pixelColor(x, y) != magenta for x in range(image.width()) for y in range(image.height()))
    assert turn.text.committed.document().refused == []
    assert turn.text.committed.loadResource(2, QUrl(address)) is None


def test_a_new_theme_repaints_old_answers(view):
    turn = ask(view, "```py\nx = 'a'\n```\n\ntext")
    Theme.dark().apply(QApplication.instance())
    settle()
    colours = turn.text.committed.toHtml()
    assert Theme.dark().text in colours
    assert Theme.light().text not in colours
    assert turn.text.committed.toPlainText().strip().endswith("text")
    assert len(turn.text.committed.findChildren(CodeBar)) == 1


def test_focus_by_keyboard_is_shown_around_a_text(view, qtbot):
    pane = ask(view).text.committed
    accent = QColor(Theme.light().accent)

    def is_framed() -> bool:
        image = pane.grab().toImage()
        return any(image.pixelColor(x, 0) == accent for x in range(image.width()))

    view.activateWindow()
    qtbot.waitUntil(view.isActiveWindow)
    pane.setFocus(Qt.FocusReason.MouseFocusReason)
    assert not is_framed()
    pane.clearFocus()
    pane.setFocus(Qt.FocusReason.TabFocusReason)
    assert is_framed()


def test_everything_has_a_name(view):
    view.add_user_turn("q", [attached(picture())])
    view.begin_answer()
    view.append_thinking("t")
    view.append_answer("```\nx\n```\n")
    view.finish_answer("f")
    settle()
    for turn in view.turns:
        for widget in turn.findChildren(TextPane) + turn.findChildren(type(view.turns[1].copy_button)):
            assert widget.accessibleName()
