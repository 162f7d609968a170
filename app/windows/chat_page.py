"""The page with the conversation: joins the chat's state to the transcript, the composer and what surrounds them.

Knows nothing of the engine; what a person does here goes to the state, and the state's changes are shown here.
"""

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QMimeData, QUrl
from PySide6.QtGui import QDesktopServices, QGuiApplication, QImage
from PySide6.QtWidgets import QStackedWidget, QVBoxLayout, QWidget

from app.state.attachment import Attachment
from app.state.chat import ChatState
from app.state.chat_changes import (
    AnswerBegan,
    AnswerEnded,
    AnswerFailed,
    AnswerGrew,
    AnswerProgressed,
    Asked,
    ChatChange,
    Cleared,
    Hindered,
    ThinkingGrew,
    Unhindered,
)
from app.state.models import ModelsState
from app.state.wording import answer_footer, context_text, progress_text
from app.widgets.centred import centred
from app.widgets.composer import Composer
from app.widgets.drop_area import DropArea
from app.widgets.error_banner import ErrorBanner
from app.widgets.file_dialog import ask_for_files
from app.widgets.media_offer import encode_png
from app.widgets.status_line import StatusLine
from app.widgets.transcript import TranscriptView
from app.widgets.welcome import Welcome
from engine.api.events import Failed

COLUMN_WIDTH = 828
"""A little more than the transcript's lines of text: in a wide window the page stays a column."""
SAMPLE_QUESTION = "What is this?"


class ChatPage(DropArea):
    def __init__(
        self, chat: ChatState, models: ModelsState, sample: Path | None = None, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._chat = chat
        self._sample = sample
        self._pasted = 0
        self.banner = ErrorBanner()
        self.welcome = Welcome(models, has_sample=sample is not None)
        self.transcript = TranscriptView()
        self.composer = Composer()
        self.status = StatusLine()
        self._middle = QStackedWidget()
        self._middle.addWidget(self.welcome)
        self._middle.addWidget(self.transcript)
        self._lay_out()
        self._connect(models)

    @property
    def shows_welcome(self) -> bool:
        return self._middle.currentWidget() is self.welcome

    def attach_files(self, paths: Sequence[Path]) -> None:
        self._show_refusals(self._chat.tray.add_files(paths))
        self.composer.setFocus()

    def attach_image(self, image: QImage) -> None:
        """Pixels without a file, such as a screenshot from the clipboard."""
        if image.isNull():
            self._show_refusals(["The clipboard’s picture cannot be read."])
            return
        self._pasted += 1
        self._show_refusals(self._chat.tray.add_picture(encode_png(image), f"Pasted picture {self._pasted}.png"))
        self.composer.setFocus()

    def choose_files(self) -> None:
        self.attach_files(ask_for_files(self))

    def paste(self) -> None:
        """Whatever the clipboard holds, wherever the keyboard's focus is."""
        mime: QMimeData = QGuiApplication.clipboard().mimeData()
        self.composer.edit.insertFromMimeData(mime)
        self.composer.setFocus()

    def try_sample(self) -> None:
        if self._sample is not None:
            self.attach_files([self._sample])
            self.composer.set_text(SAMPLE_QUESTION)

    def play(self, path: Path) -> None:
        """In whatever this computer plays clips with."""
        if not path.exists():
            self.banner.show_error(f"“{path.name}” is no longer where it was.", f"Put it back to {path} to play it.")
        elif not QDesktopServices.openUrl(QUrl.fromLocalFile(str(path))):
            self.banner.show_error(f"“{path.name}” cannot be played.", "This computer has no program for such files.")

    def show_failure(self, failed: Failed) -> None:
        self.banner.show_error(failed.message, failed.hint)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 8, 16, 8)
        layout.setSpacing(6)
        layout.addLayout(centred(self.banner))
        layout.addWidget(self._middle, 1)
        layout.addLayout(centred(self.composer))
        layout.addLayout(centred(self.status))
        for widget in (self.banner, self.composer, self.status):
            widget.setMaximumWidth(COLUMN_WIDTH)

    def _connect(self, models: ModelsState) -> None:
        self._chat.changed.connect(self._on_chat_changed)
        self._chat.tray.changed.connect(self._on_tray_changed)
        models.failed.connect(self.show_failure)
        self.files_dropped.connect(self.attach_files)
        self.image_dropped.connect(self.attach_image)
        self.composer.files_pasted.connect(self.attach_files)
        self.composer.image_pasted.connect(self.attach_image)
        self.composer.attach_requested.connect(self.choose_files)
        self.composer.removed.connect(self._chat.tray.remove)
        self.composer.frames_chosen.connect(self._chat.tray.set_frames)
        self.composer.learned.connect(self._chat.learn)
        self.composer.send_requested.connect(self._on_send)
        self.composer.stop_requested.connect(self._chat.stop)
        self.welcome.attach_requested.connect(self.choose_files)
        self.welcome.sample_requested.connect(self.try_sample)
        self.transcript.copy_requested.connect(lambda text: QGuiApplication.clipboard().setText(text))
        self.transcript.regenerate_requested.connect(self._chat.regenerate)
        self.transcript.play_requested.connect(self.play)

    def _on_send(self, text: str) -> None:
        if self._chat.send(text):
            self.composer.clear_text()

    def _on_tray_changed(self, items: tuple[Attachment, ...]) -> None:
        self.composer.show_attachments(items, self._chat.tray.senses)

    def _on_chat_changed(self, change: ChatChange) -> None:
        match change:
            case Asked():
                self.banner.hide()
                self._middle.setCurrentWidget(self.transcript)
                self.transcript.add_user_turn(change.question, change.attachments)
            case AnswerBegan():
                self.banner.hide()
                self.transcript.begin_answer()
                self.composer.set_running(True)
                self._show_busy("Waiting for the model…")
            case AnswerProgressed():
                self._show_busy(progress_text(change.progress))
            case AnswerGrew():
                self.status.show_activity("Answering…")
                self.transcript.append_answer(change.text)
            case ThinkingGrew():
                self.status.show_activity("Thinking…")
                self.transcript.append_thinking(change.text)
            case AnswerEnded():
                self.transcript.finish_answer(answer_footer(change.finished), change.finished.notes)
                self._end_answer()
                self.status.show_context(context_text(change.finished))
            case AnswerFailed():
                self.transcript.fail_answer(change.failed.message)
                self.show_failure(change.failed)
                self._end_answer()
            case Hindered():
                self.banner.show_error(change.obstacle.message, change.obstacle.hint)
            case Unhindered():
                if self.banner.message == change.obstacle.message:
                    self.banner.hide()
            case Cleared():
                self.transcript.clear()
                self._middle.setCurrentWidget(self.welcome)
                self.banner.hide()
                self.composer.clear_text()
                self._end_answer()
                self.status.show_context("")

    def _show_busy(self, words: str) -> None:
        self.status.show_activity(words)
        self.transcript.set_busy(words)

    def _end_answer(self) -> None:
        self.composer.set_running(False)
        self.status.show_activity("")
        self.composer.setFocus()

    def _show_refusals(self, refusals: list[str]) -> None:
        if refusals:
            self.banner.show_error(refusals[0], " ".join(refusals[1:]))
