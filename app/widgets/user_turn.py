"""What a person asked: the pictures and clips, and the words in a bubble on the right.

Knows nothing of files; what is not there yet is shown when `show_preview` brings it.
"""

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from app.state.media_kinds import MediaKind
from app.state.wording import duration_text
from app.theme import Spacing
from app.thumbnails import Preview
from app.widgets.flow_layout import FlowLayout
from app.widgets.text_pane import TextPane
from app.widgets.thumbnail import Thumbnail

_WIDEST, _REST = 4, 1
"""The bubble gets at most four fifths of the line."""
_SPACING = Spacing()


class UserTurn(QWidget):
    """Signals: `thumbnail_clicked(index)`."""

    thumbnail_clicked = Signal(int)

    def __init__(self, text: str, kinds: Sequence[MediaKind] = (), parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(_SPACING.small)
        self.thumbnails = [_thumbnail(kind, index + 1, len(kinds)) for index, kind in enumerate(kinds)]
        if self.thumbnails:
            flow = FlowLayout(_SPACING.small)
            for index, thumbnail in enumerate(self.thumbnails):
                thumbnail.clicked.connect(lambda _checked=False, which=index: self.thumbnail_clicked.emit(which))
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

    def show_preview(self, index: int, preview: Preview) -> None:
        if preview.facts is not None and preview.facts.kind is MediaKind.CLIP:
            self.thumbnails[index].mark_as_clip(duration_text(preview.facts.duration))
        self.thumbnails[index].show_image(preview.image)


def _thumbnail(kind: MediaKind, number: int, total: int) -> Thumbnail:
    thumbnail = Thumbnail(f"{kind.value.capitalize()} {number} of {total}")
    if kind is MediaKind.CLIP:
        thumbnail.mark_as_clip("")
    return thumbnail
