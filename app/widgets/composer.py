"""The box at the foot of the chat: the question, its attachments, and the buttons to attach, send and stop.

Knows nothing of the conversation; it says what a person wants and shows what it is told.
"""

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QImage, QKeySequence
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from app.state.attachment import Attachment
from app.state.attachment_words import attach_tip
from app.state.senses import Senses
from app.widgets.attachment_chips import AttachmentChips
from app.widgets.icon_button import IconButton
from app.widgets.prompt_edit import PromptEdit


class Composer(QFrame):
    """Signals: `send_requested(str)`, `stop_requested()`, `attach_requested()`, `removed(key)`,
    `frames_chosen(key, frames)`, `learned(key, FileFacts)`, `files_pasted(list[Path])`, `image_pasted(QImage)`."""

    send_requested = Signal(str)
    stop_requested = Signal()
    attach_requested = Signal()
    removed = Signal(int)
    frames_chosen = Signal(int, int)
    learned = Signal(int, object)
    files_pasted = Signal(list)
    image_pasted = Signal(QImage)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "composer")
        self._running = False
        self._chips = AttachmentChips()
        self.edit = PromptEdit()
        self.attach_button = IconButton("attach", "Attach pictures or clips")
        self.send_button = IconButton("send", "Send", role="round")
        self._lay_out()
        self._connect()
        self.show_attachments((), None)

    @property
    def chips(self) -> AttachmentChips:
        return self._chips

    def set_running(self, running: bool) -> None:
        """While an answer is being written, the button that sends stops it."""
        self._running = running
        self._refresh()

    def show_attachments(self, attachments: Sequence[Attachment], senses: Senses | None) -> None:
        """As they will be sent to a model that can be shown this."""
        self._chips.show_attachments(attachments, senses)
        keys = QKeySequence(QKeySequence.StandardKey.Open).toString(QKeySequence.SequenceFormat.NativeText)
        self.attach_button.setToolTip(f"{attach_tip(senses)} ({keys})")
        self._refresh()

    def set_text(self, text: str) -> None:
        self.edit.setPlainText(text)
        self.edit.moveCursor(self.edit.textCursor().MoveOperation.End)

    def clear_text(self) -> None:
        self.edit.clear()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self.edit and event.type() in (QEvent.Type.FocusIn, QEvent.Type.FocusOut):
            self.setProperty("focused", event.type() == QEvent.Type.FocusIn)
            self.style().unpolish(self)
            self.style().polish(self)
        return super().eventFilter(watched, event)

    def _lay_out(self) -> None:
        line = QHBoxLayout()
        line.setSpacing(8)
        bottom = Qt.AlignmentFlag.AlignBottom
        line.addWidget(self.attach_button, 0, bottom)
        line.addWidget(self.edit, 1, bottom)
        line.addWidget(self.send_button, 0, bottom)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.setSpacing(8)
        layout.addWidget(self._chips)
        layout.addLayout(line)
        self.setFocusProxy(self.edit)

    def _connect(self) -> None:
        self.edit.installEventFilter(self)
        self.edit.textChanged.connect(self._refresh)
        self.edit.submitted.connect(self._on_submitted)
        self.edit.files_pasted.connect(self.files_pasted)
        self.edit.image_pasted.connect(self.image_pasted)
        self.send_button.clicked.connect(self._on_button)
        self.attach_button.clicked.connect(self.attach_requested)
        self._chips.removed.connect(self.removed)
        self._chips.frames_chosen.connect(self.frames_chosen)
        self._chips.learned.connect(self.learned)

    def _has_something(self) -> bool:
        return bool(self.edit.toPlainText().strip() or self._chips.chips)

    def _refresh(self) -> None:
        if self._running:
            keys = QKeySequence("Ctrl+.").toString(QKeySequence.SequenceFormat.NativeText)
            self.send_button.set_meaning("stop", "Stop", f"Stop answering (Esc or {keys})")
        else:
            self.send_button.set_meaning("send", "Send", "Send (Enter); Shift+Enter begins a new line")
        self.send_button.setEnabled(self._running or self._has_something())

    def _on_button(self) -> None:
        if self._running:
            self.stop_requested.emit()
        else:
            self._on_submitted()

    def _on_submitted(self) -> None:
        if not self._running and self._has_something():
            self.send_requested.emit(self.edit.toPlainText())
