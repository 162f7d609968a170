"""The conversation: questions with their pictures and clips, answers as they stream in, all in one column that scrolls.

Knows nothing of the engine or of the chat's state; it shows what it is told and says what a person asks for.
"""

from collections.abc import Sequence

from PySide6.QtCore import QUrl, Signal
from PySide6.QtGui import QDesktopServices, QResizeEvent
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from app.state.attachment import Attachment
from app.theme import Spacing
from app.widgets.answer_turn import AnswerTurn
from app.widgets.transcript_pictures import TranscriptPictures
from app.widgets.transcript_scroll import TranscriptScroll
from app.widgets.user_turn import UserTurn

_WIDEST = 760
"""Pixels of text column; longer lines are hard to read."""
_SPACING = Spacing()


class TranscriptView(QWidget):
    """Signals: `copy_requested(text)`, `regenerate_requested()`, `play_requested(Path)`."""

    copy_requested = Signal(str)
    regenerate_requested = Signal()
    play_requested = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._turns: list[UserTurn | AnswerTurn] = []
        self._pictures = TranscriptPictures(self)
        self._pictures.play_requested.connect(self.play_requested)
        self._page = QWidget()
        self._page.setProperty("role", "page")
        self._page.setAccessibleName("Conversation")
        self._column = QVBoxLayout(self._page)
        self._column.setSpacing(_SPACING.huge)
        self._column.addStretch(1)
        self.scroll = TranscriptScroll(self._page)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.scroll)
        self.jump_button = QPushButton("Jump to latest", self)
        self.jump_button.setProperty("role", "float")
        self.jump_button.hide()
        self.jump_button.clicked.connect(self.scroll.go_to_end)
        self.scroll.left_end.connect(self._on_left_end)

    @property
    def turns(self) -> tuple[UserTurn | AnswerTurn, ...]:
        return tuple(self._turns)

    def add_user_turn(self, text: str, attachments: Sequence[Attachment] = ()) -> None:
        turn = UserTurn(text, [attachment.kind for attachment in attachments])
        turn.thumbnail_clicked.connect(lambda index: self._pictures.open(attachments[index], turn, index))
        self._add(turn)
        for index, attachment in enumerate(attachments):
            self._pictures.show(attachment, turn, index)
        self.scroll.go_to_end()

    def begin_answer(self) -> None:
        """An answer right after another one takes its place."""
        last = self._turns[-1] if self._turns else None
        if isinstance(last, AnswerTurn):
            self._remove(last)
        for turn in self._turns[-2:]:
            if isinstance(turn, AnswerTurn):
                turn.set_last(False)
        turn = AnswerTurn()
        turn.copy_requested.connect(self.copy_requested)
        turn.regenerate_requested.connect(self.regenerate_requested)
        turn.link_activated.connect(self._on_link_activated)
        self._add(turn)
        self.scroll.go_to_end()

    def append_answer(self, text: str) -> None:
        self._answer().append(text)

    def append_thinking(self, text: str) -> None:
        self._answer().append_thinking(text)

    def set_busy(self, text: str) -> None:
        """What happens before the first word, such as "Reading the prompt… 40 %"."""
        self._answer().busy.say(text)

    def finish_answer(self, footer: str, notes: Sequence[str] = ()) -> None:
        """`notes`: what a person ought to know of how it came about."""
        self._answer().end(footer, notes=notes)

    def stop_answer(self, footer: str) -> None:
        self._answer().end(footer or "Stopped")

    def fail_answer(self, message: str) -> None:
        self._answer().end("", message)

    def clear(self) -> None:
        self._pictures.forget()
        for turn in self.turns:
            self._remove(turn)
        self.scroll.go_to_end()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        side = max(_SPACING.large, (self.width() - _WIDEST) // 2)
        self._column.setContentsMargins(side, _SPACING.huge, side, _SPACING.huge)
        self._place_jump_button()

    def _answer(self) -> AnswerTurn:
        """The answer that is being written; one that nobody announced begins now."""
        if not self._turns or not isinstance(self._turns[-1], AnswerTurn):
            self.begin_answer()
        return self._turns[-1]

    def _add(self, turn: UserTurn | AnswerTurn) -> None:
        self._turns.append(turn)
        self._column.insertWidget(self._column.count() - 1, turn)

    def _remove(self, turn: UserTurn | AnswerTurn) -> None:
        self._turns.remove(turn)
        self._column.removeWidget(turn)
        turn.hide()
        turn.deleteLater()

    def _on_left_end(self, away: bool) -> None:
        self.jump_button.setVisible(away)
        self._place_jump_button()

    def _place_jump_button(self) -> None:
        size = self.jump_button.sizeHint()
        left = (self.width() - size.width()) // 2
        self.jump_button.setGeometry(left, self.height() - size.height() - _SPACING.medium, size.width(), size.height())
        self.jump_button.raise_()

    @staticmethod
    def _on_link_activated(url: QUrl) -> None:
        QDesktopServices.openUrl(url)
