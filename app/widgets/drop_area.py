"""A page onto which pictures and clips can be dropped: lights up for what it can take, says no to what it cannot.

Knows nothing of attachments; it says what was dropped.
"""

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDragMoveEvent, QDropEvent, QImage, QResizeEvent
from PySide6.QtWidgets import QFrame, QLabel, QVBoxLayout, QWidget

from app.widgets.media_offer import read_offer

REFUSAL_MS = 2500
"""A refused drag is not told when it leaves, so the sentence goes by itself."""


class DropArea(QWidget):
    """Signals: `files_dropped(list[Path])`, pictures, clips and whatever came with them; `image_dropped(QImage)`."""

    files_dropped = Signal(list)
    image_dropped = Signal(QImage)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAcceptDrops(True)
        self._veil = _Veil(self)
        self.fading = QTimer(self)
        self.fading.setSingleShot(True)
        self.fading.setInterval(REFUSAL_MS)
        self.fading.timeout.connect(self._veil.hide)

    @property
    def is_lit(self) -> bool:
        return not self._veil.isHidden() and self._veil.is_lit

    @property
    def sentence(self) -> str:
        """What is written over the page now; empty while nothing hovers."""
        return "" if self._veil.isHidden() else self._veil.sentence

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        offer = read_offer(event.mimeData())
        if offer.is_welcome:
            self.fading.stop()
            self._veil.say(offer.sentence, True)
            event.setDropAction(Qt.DropAction.CopyAction)
            event.accept()
        else:
            self._veil.say(offer.sentence, False)
            self.fading.start()
            event.ignore()

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        event.setDropAction(Qt.DropAction.CopyAction)
        event.accept()

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self._veil.hide()

    def dropEvent(self, event: QDropEvent) -> None:
        self._veil.hide()
        offer = read_offer(event.mimeData())
        if not offer.is_welcome:
            event.ignore()
            return
        event.setDropAction(Qt.DropAction.CopyAction)
        event.accept()
        if offer.paths:
            self.files_dropped.emit(list(offer.paths))
        else:
            self.image_dropped.emit(QImage(event.mimeData().imageData()))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        margin = 12
        self._veil.setGeometry(self.rect().adjusted(margin, margin, -margin, -margin))


class _Veil(QFrame):
    """Covers the page while something hovers over it."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setProperty("role", "drop")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._label = QLabel()
        self._label.setProperty("role", "heading")
        self._label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._label.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.addWidget(self._label)
        self.hide()

    @property
    def is_lit(self) -> bool:
        return bool(self.property("lit"))

    @property
    def sentence(self) -> str:
        return self._label.text()

    def say(self, sentence: str, lit: bool) -> None:
        self._label.setText(sentence)
        self.setProperty("lit", lit)
        self.style().unpolish(self)
        self.style().polish(self)
        self.raise_()
        self.show()
