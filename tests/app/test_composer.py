"""The composer answers the keyboard, the clipboard and its buttons."""

import dataclasses

import pytest
from PySide6.QtCore import QMimeData, Qt, QUrl
from PySide6.QtGui import QGuiApplication

from app.state.attachment import Attachment, FileFacts
from app.state.attachment_words import NOT_TAKEN
from app.state.media_kinds import MediaKind
from app.state.senses import Senses
from app.theme import Theme
from app.thumbnails import ThumbnailLoader
from app.widgets.composer import Composer
from tests.app.clips import write_clip
from tests.app.pictures import draw_image

SEES, WATCHES, READS = Senses(True, False), Senses(True, True), Senses(False, False)


@pytest.fixture
def composer(qtbot):
    composer = Composer()
    qtbot.addWidget(composer)
    composer.resize(500, 200)
    composer.show()
    yield composer
    composer.findChild(ThumbnailLoader).close()


def sent(composer):
    texts = []
    composer.send_requested.connect(texts.append)
    return texts


def put_on_clipboard(**content):
    mime = QMimeData()
    if "text" in content:
        mime.setText(content["text"])
    if "image" in content:
        mime.setImageData(content["image"])
    if "paths" in content:
        mime.setUrls([QUrl.fromLocalFile(str(path)) for path in content["paths"]])
    QGuiApplication.clipboard().setMimeData(mime)


def test_enter_sends_and_shift_enter_breaks_the_line(composer, qtbot):
    texts = sent(composer)
    qtbot.keyClicks(composer.edit, "one")
    qtbot.keyClick(composer.edit, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    qtbot.keyClicks(composer.edit, "two")
    assert texts == []
    qtbot.keyClick(composer.edit, Qt.Key.Key_Return)
    assert texts == ["one\ntwo"]
    qtbot.keyClick(composer.edit, Qt.Key.Key_Enter, Qt.KeyboardModifier.KeypadModifier)
    assert len(texts) == 2


def test_nothing_to_send_is_not_sent(composer, qtbot):
    texts = sent(composer)
    assert not composer.send_button.isEnabled()
    qtbot.keyClicks(composer.edit, "   ")
    qtbot.keyClick(composer.edit, Qt.Key.Key_Return)
    assert texts == []
    assert not composer.send_button.isEnabled()


def test_a_picture_alone_can_be_sent(composer, qtbot):
    texts = sent(composer)
    composer.show_attachments((Attachment(1, "a.png", b"", 10),), None)
    composer.send_button.click()
    assert texts == [""]


def test_the_send_button_stops_while_an_answer_runs(composer, qtbot):
    texts, stops = sent(composer), []
    composer.stop_requested.connect(lambda: stops.append(True))
    composer.set_text("next")
    composer.set_running(True)
    assert composer.send_button.accessibleName() == "Stop"
    qtbot.keyClick(composer.edit, Qt.Key.Key_Return)
    composer.send_button.click()
    assert (texts, len(stops)) == ([], 1)
    composer.set_running(False)
    composer.send_button.click()
    assert texts == ["next"]


def test_grows_with_its_text_up_to_a_limit(composer, qtbot):
    one = composer.edit.height()
    composer.set_text("a\nb\nc")
    three = composer.edit.height()
    composer.set_text("\n" * 50)
    most = composer.edit.height()
    assert one < three < most < 400
    composer.clear_text()
    assert composer.edit.height() == one


def test_long_lines_wrap_and_grow_too(composer, qtbot):
    one = composer.edit.height()
    composer.set_text("word " * 60)
    qtbot.waitUntil(lambda: composer.edit.height() > one)


def test_pasting_text_is_text(composer):
    put_on_clipboard(text="hello <b>you</b>")
    composer.edit.paste()
    assert composer.edit.toPlainText() == "hello <b>you</b>"


def test_pasting_a_picture_hands_it_on(composer, qtbot):
    put_on_clipboard(image=draw_image("blue"))
    with qtbot.waitSignal(composer.image_pasted) as pasted:
        qtbot.keyClick(composer.edit, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    assert pasted.args[0].pixelColor(3, 3).name() == "#0000ff"
    assert composer.edit.toPlainText() == ""


def test_pasting_copied_files_hands_them_on(composer, qtbot, picture):
    put_on_clipboard(paths=[picture])
    with qtbot.waitSignal(composer.files_pasted) as pasted:
        composer.edit.paste()
    assert pasted.args[0] == [picture]
    assert composer.edit.toPlainText() == ""


def test_pasting_words_that_carry_their_own_picture_is_text(composer):
    put_on_clipboard(text="from an office program", image=draw_image("blue"))
    composer.edit.paste()
    assert composer.edit.toPlainText() == "from an office program"


def test_chips_show_name_size_and_thumbnail_and_go_away(composer, qtbot, picture):
    red, long = Attachment(1, "red.png", picture, 53_400), Attachment(2, "b" * 80 + ".png", b"", 999)
    composer.show_attachments((red, long), None)
    first, second = composer.chips.chips
    assert first.accessibleName() == "Picture red.png, 53\u00a0KB"
    assert composer.chips.isVisible()
    qtbot.waitUntil(lambda: first.picture.pixmap().toImage().pixelColor(20, 20).name() == "#ff0000")
    removed = []
    composer.removed.connect(removed.append)
    first.remove_button.click()
    qtbot.keyClick(second, Qt.Key.Key_Delete)
    assert removed == [1, 2]
    composer.show_attachments((), None)
    assert composer.chips.isHidden()


def test_chips_that_stay_are_not_rebuilt(composer):
    items = (Attachment(1, "a.png", b"", 1), Attachment(2, "b.png", b"", 1))
    composer.show_attachments(items, None)
    before = composer.chips.chips
    composer.show_attachments(items[1:], None)
    assert composer.chips.chips == before[1:]


@pytest.fixture
def clip(tmp_path):
    return Attachment(1, "dog.mp4", write_clip(tmp_path / "dog.mp4"), 2_000, MediaKind.CLIP, duration=2.0)


def test_a_clips_chip_shows_its_poster_and_says_what_it_holds(composer, qtbot, clip):
    with qtbot.waitSignal(composer.learned) as learned:
        composer.show_attachments((clip,), WATCHES)
    assert learned.args == [1, FileFacts(MediaKind.CLIP, duration=2.0)]
    (chip,) = composer.chips.chips
    image = chip.picture.pixmap().toImage()
    assert image.pixelColor(20, 6).green() > 150
    assert image.pixelColor(20, 20).name() == "#ffffff", "the mark of a clip"
    assert chip.caption.text() == "0:02 · 2.0\u00a0KB"
    assert not chip.frames_button.isVisible()


def test_the_number_of_frames_can_be_chosen_where_a_model_takes_pictures_only(composer, qtbot, clip):
    composer.show_attachments((clip,), SEES)
    (chip,) = composer.chips.chips
    button = chip.frames_button
    assert button.isVisible()
    assert button.text() == "8 frames, as pictures"
    assert button.focusPolicy() & Qt.FocusPolicy.TabFocus
    actions = button.menu().actions()
    assert [(action.text().split()[0], action.isChecked()) for action in actions] == [
        ("4", False),
        ("8", True),
        ("16", False),
    ]
    chosen = []
    composer.frames_chosen.connect(lambda key, frames: chosen.append((key, frames)))
    actions[2].trigger()
    assert chosen == [(1, 16)]
    composer.show_attachments((dataclasses.replace(clip, frames=16),), SEES)
    assert button.text() == "16 frames, as pictures"
    assert [action.isChecked() for action in button.menu().actions()] == [False, False, True]


def test_the_chip_and_the_tip_follow_the_model(composer, clip):
    composer.show_attachments((clip,), READS)
    (chip,) = composer.chips.chips
    assert chip.caption.text() == NOT_TAKEN
    assert NOT_TAKEN in chip.accessibleName()
    assert not chip.frames_button.isVisible()
    assert "text only" in composer.attach_button.toolTip()
    composer.show_attachments((clip,), SEES)
    assert composer.chips.chips == (chip,)
    assert chip.frames_button.isVisible()
    assert "frames" in composer.attach_button.toolTip()
    assert "Ctrl+O" in composer.attach_button.toolTip()


def test_delete_on_any_part_of_a_chip_removes_it(composer, qtbot, clip):
    composer.show_attachments((clip,), SEES)
    removed = []
    composer.removed.connect(removed.append)
    qtbot.keyClick(composer.chips.chips[0].frames_button, Qt.Key.Key_Delete)
    assert removed == [1]


def test_a_chip_without_a_poster_follows_the_theme(composer, qapp):
    composer.show_attachments((Attachment(1, "torn.mp4", b"", 10, MediaKind.CLIP),), WATCHES)
    (chip,) = composer.chips.chips

    def drawn():
        image = chip.picture.pixmap().toImage()
        return {
            image.pixelColor(x, y).name() for x in range(22) for y in range(22) if image.pixelColor(x, y).alpha() > 250
        }

    for theme in (Theme.light(), Theme.dark()):
        theme.apply(qapp)
        assert drawn() == {theme.muted}
    Theme.light().apply(qapp)
