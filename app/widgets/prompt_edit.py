"""The field a question is typed into: grows with its text, sends on Enter, hands pasted files and pictures on.

Knows nothing of what is sent or to whom.
"""

from math import ceil

from PySide6.QtCore import QMimeData, Qt, Signal
from PySide6.QtGui import QImage, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QFrame, QPlainTextEdit, QWidget

from app.widgets.media_offer import read_offer

MAX_LINES = 8


class PromptEdit(QPlainTextEdit):
    """Signals: `submitted()` on Enter; `files_pasted(list[Path])`; `image_pasted(QImage)`."""

    submitted = Signal()
    files_pasted = Signal(list)
    image_pasted = Signal(QImage)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setTabChangesFocus(True)
        self.setPlaceholderText("Ask about a picture or a clip, or anything else")
        self.setAccessibleName("Question")
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        # Dropped files belong to the page beneath; here they would turn into text.
        self.setAcceptDrops(False)
        self.document().documentLayout().documentSizeChanged.connect(self._fit)
        self._fit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        is_enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if is_enter and not event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self.submitted.emit()
            return
        super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def canInsertFromMimeData(self, source: QMimeData) -> bool:
        return read_offer(source).is_welcome or source.hasText()

    def insertFromMimeData(self, source: QMimeData) -> None:
        offer = read_offer(source)
        # Office programs put a picture of the text beside the text; then the text is meant.
        if offer.paths:
            self.files_pasted.emit(list(offer.paths))
        elif offer.has_image and not source.hasText():
            self.image_pasted.emit(QImage(source.imageData()))
        elif source.hasText():
            self.insertPlainText(source.text())

    def _fit(self) -> None:
        """As tall as the text, up to a limit; from there on it scrolls. (This layout measures its height in lines.)"""
        lines = max(1, round(self.document().size().height()))
        margins = self.contentsMargins() + self.viewportMargins()
        frame = 2 * self.document().documentMargin() + margins.top() + margins.bottom()
        self.setFixedHeight(ceil(min(lines, MAX_LINES) * self.fontMetrics().lineSpacing() + frame))
        policy = Qt.ScrollBarPolicy
        self.setVerticalScrollBarPolicy(policy.ScrollBarAsNeeded if lines > MAX_LINES else policy.ScrollBarAlwaysOff)
