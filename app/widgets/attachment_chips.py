"""The row of attachments above the question.

Knows nothing of files' contents: they are read beside the window's thread, and what comes of it is passed on.
"""

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QScrollArea, QWidget

from app.state.attachment import Attachment
from app.state.senses import Senses
from app.thumbnails import Preview, ThumbnailLoader
from app.widgets.attachment_chip import THUMBNAIL, AttachmentChip


class AttachmentChips(QScrollArea):
    """Signals: `removed(key)`, `frames_chosen(key, frames)`, `learned(key, FileFacts)`. Hidden while there is nothing
    to show."""

    removed = Signal(int)
    frames_chosen = Signal(int, int)
    learned = Signal(int, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._chips: dict[int, AttachmentChip] = {}
        self._loader = ThumbnailLoader(THUMBNAIL * 3, self)
        self._loader.loaded.connect(self._on_loaded)
        self.setWidgetResizable(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        page = QWidget()
        page.setProperty("role", "page")
        self._row = QHBoxLayout(page)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(8)
        self._row.addStretch(1)
        self.setWidget(page)
        self.hide()

    @property
    def chips(self) -> tuple[AttachmentChip, ...]:
        return tuple(self._chips.values())

    def show_attachments(self, attachments: Sequence[Attachment], senses: Senses | None) -> None:
        """Adds and removes chips so that these are shown; those that stay keep their place."""
        wanted = {attachment.key for attachment in attachments}
        for key in [key for key in self._chips if key not in wanted]:
            self._chips.pop(key).deleteLater()
        for attachment in attachments:
            if attachment.key not in self._chips:
                self._add(attachment)
            self._chips[attachment.key].show_attachment(attachment, senses)
        self.setVisible(bool(self._chips))
        if self._chips:
            self.setFixedHeight(self.widget().sizeHint().height() + self.horizontalScrollBar().sizeHint().height())

    def _add(self, attachment: Attachment) -> None:
        chip = AttachmentChip(attachment)
        chip.removed.connect(self.removed)
        chip.frames_chosen.connect(self.frames_chosen)
        self._chips[attachment.key] = chip
        self._row.insertWidget(self._row.count() - 1, chip)
        self._loader.load(attachment.key, attachment.source)

    def _on_loaded(self, key: int, preview: Preview) -> None:
        if key in self._chips and not preview.image.isNull():
            self._chips[key].show_image(preview.image)
        if preview.facts is not None:
            self.learned.emit(key, preview.facts)
