"""One answer: thinking, text, what went wrong or is to be noted, and the row beneath: copy, try again, statistics.

Knows nothing of the engine or of the clipboard.
"""

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QUrl, Signal
from PySide6.QtGui import QEnterEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from app.theme import Spacing
from app.widgets.answer_text import AnswerText
from app.widgets.copy_button import CopyButton
from app.widgets.pulse import Pulse
from app.widgets.quiet_button import QuietButton
from app.widgets.text_pane import TextPane
from app.widgets.thinking_panel import ThinkingPanel

_SPACING = Spacing()


class AnswerTurn(QWidget):
    """Signals: `link_activated(url)`, `copy_requested(text)`, `regenerate_requested()`."""

    link_activated = Signal(QUrl)
    copy_requested = Signal(str)
    regenerate_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self._is_last = True
        self.thinking: ThinkingPanel | None = None
        self.text = AnswerText()
        self.text.link_activated.connect(self.link_activated)
        self.text.copy_requested.connect(self.copy_requested)
        self.busy = Pulse()
        self.error: TextPane | None = None
        self.notes: list[TextPane] = []
        self.copy_button = CopyButton("Copy the answer")
        self.copy_button.clicked.connect(lambda: self.copy_requested.emit(self.text.source))
        self.again_button = QuietButton("refresh", "Answer again")
        self.again_button.clicked.connect(self.regenerate_requested)
        self.footer = QLabel()
        self.footer.setProperty("role", "caption")
        self.footer.setMinimumWidth(1)  # in a narrow window it is cut, and never makes the window wider
        self._foot = QWidget()
        self._foot.hide()
        self._lay_out()

    def append(self, text: str) -> None:
        self.busy.stop()
        if self.thinking is not None:
            self.thinking.finish()
        self.text.append(text)

    def append_thinking(self, text: str) -> None:
        self.busy.stop()
        if self.thinking is None:
            self.thinking = ThinkingPanel()
            self.layout().insertWidget(0, self.thinking)
        self.thinking.append(text)

    def end(self, footer: str, error: str = "", notes: Sequence[str] = ()) -> None:
        """The answer is over: `footer` says how it went, `error` what went wrong, `notes` what ought to be known."""
        self.busy.stop()
        self.text.finish()
        if self.thinking is not None:
            self.thinking.finish()
        if error:
            self._show_error(error)
        for note in notes:
            self._add_note(note)
        self.footer.setText(footer)
        self.footer.setVisible(bool(footer))
        self.copy_button.setVisible(bool(self.text.source))
        self._foot.show()
        self._reveal()

    def _show_error(self, message: str) -> None:
        if self.error is None:
            self.error = TextPane("What went wrong")
            self.error.setProperty("tone", "error")
            self.layout().insertWidget(self.layout().indexOf(self._foot), self.error)
        self.error.show_plain(message)

    def _add_note(self, sentence: str) -> None:
        note = TextPane("Note")
        note.setProperty("tone", "note")
        self.layout().insertWidget(self.layout().indexOf(self._foot), note)
        note.show_plain(sentence)
        self.notes.append(note)

    def set_last(self, is_last: bool) -> None:
        """Only the last answer can be asked for again; its buttons are always in sight."""
        self._is_last = is_last
        self.again_button.setVisible(is_last)
        self._reveal()

    def enterEvent(self, event: QEnterEvent) -> None:
        super().enterEvent(event)
        self._reveal()

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._reveal()

    def _reveal(self) -> None:
        self.copy_button.set_revealed(self._is_last or self.underMouse())
        self.again_button.set_revealed(self._is_last or self.underMouse())

    def _lay_out(self) -> None:
        row = QHBoxLayout(self._foot)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(_SPACING.tiny)
        row.addWidget(self.footer)
        row.addWidget(self.copy_button)
        row.addWidget(self.again_button)
        row.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(_SPACING.tiny)
        for widget in (self.text, self.busy, self._foot):
            layout.addWidget(widget)
