"""What a person asked: the pictures, and the words in a bubble on the right.

Knows nothing of files; a picture that is not there yet is shown when `show_picture` brings it.
"""

from PySide6.QtCore import Signal
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from app.theme import Spacing
from app.widgets.flow_layout import FlowLayout
from app.widgets.text_pane import TextPane
from app.widgets.thumbnail import Thumbnail

_WIDEST, _REST = 4, 1
"""The bubble gets at most four fifths of the line."""
_SPACING = Spacing()


class UserTurn(QWidget):
    """Signals: `picture_clicked(index)`."""

    picture_clicked = Signal(int)

    def __init__(self, text: str, pictures: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(_SPACING.small)
        self.thumbnails = [Thumbnail(f"Picture {index + 1} of {pictures}") for index in range(pictures)]
        if self.thumbnails:
            flow = FlowLayout(_SPACING.small)
            for index, thumbnail in enumerate(self.thumbnails):
                thumbnail.clicked.connect(lambda _checked=False, which=index: self.picture_clicked.emit(which))
                flow.addWidget(thumbnail)
            layout.addLayout(flow)
        self.pane = TextPane("Your question")
        self.pane.show_plain(text)
        bubble = QFrame()
        bubble.setProperty("role", "bubble")
        if not text:
            bubble.hide()
        inside = QHBoxLayout(bubble)
        inside.setContentsMargins(_SPACING.large, _SPACING.small, _SPACING.large, _SPACING.small)
        inside.addWidget(self.pane)
        line = QHBoxLayout()
        line.addStretch(_REST)
        line.addWidget(bubble, _WIDEST)
        layout.addLayout(line)
        bubble.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Maximum)

    def show_picture(self, index: int, image: QImage) -> None:
        self.thumbnails[index].show_image(image)
