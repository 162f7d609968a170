"""The row of pictures above the question: thumbnail, name, size, and a way to be rid of each.

Knows nothing of files' contents; thumbnails come to it when they are ready.
"""

from PySide6.QtCore import QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics, QImage, QKeyEvent, QPainter, QPainterPath, QPixmap
from PySide6.QtWidgets import QApplication, QFrame, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from app.icons import load_icon
from app.state.attachments import Attachment
from app.state.wording import bytes_text
from app.theme import Theme
from app.thumbnails import ThumbnailLoader
from app.widgets.icon_button import IconButton

THUMBNAIL = 40
NAME_WIDTH = 140


class AttachmentChip(QFrame):
    """Signals: `removed(key)`."""

    removed = Signal(int)

    def __init__(self, attachment: Attachment, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.key = attachment.key
        self.setProperty("role", "chip")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        size = bytes_text(attachment.size)
        self.setAccessibleName(f"Picture {attachment.name}, {size}")
        self.setToolTip(str(attachment.source) if not isinstance(attachment.source, bytes) else attachment.name)
        self.picture = QLabel()
        self.picture.setFixedSize(THUMBNAIL, THUMBNAIL)
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.picture.setPixmap(load_icon("picture", Theme.current(QApplication.instance()).muted, 22).pixmap(22, 22))
        name = QLabel()
        name.setText(_elided(name.fontMetrics(), attachment.name))
        weight = QLabel(size)
        weight.setProperty("role", "caption")
        words = QVBoxLayout()
        words.setSpacing(0)
        words.addWidget(name)
        words.addWidget(weight)
        self.remove_button = IconButton("close", f"Remove {attachment.name}", "Remove (Delete)")
        self.remove_button.setIconSize(QSize(14, 14))
        self.remove_button.clicked.connect(self._on_remove)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(6, 6, 4, 6)
        layout.setSpacing(8)
        layout.addWidget(self.picture)
        layout.addLayout(words)
        layout.addWidget(self.remove_button, 0, Qt.AlignmentFlag.AlignTop)

    def show_thumbnail(self, image: QImage) -> None:
        self.picture.setPixmap(_rounded_square(image, THUMBNAIL, self.devicePixelRatioF()))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self._on_remove()
        else:
            super().keyPressEvent(event)

    def _on_remove(self) -> None:
        self.removed.emit(self.key)


class AttachmentChips(QScrollArea):
    """Signals: `removed(key)`. Hidden while there is nothing to show."""

    removed = Signal(int)

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

    def show_attachments(self, attachments: tuple[Attachment, ...]) -> None:
        """Adds and removes chips so that these are shown; those that stay keep their place."""
        wanted = {attachment.key for attachment in attachments}
        for key in [key for key in self._chips if key not in wanted]:
            self._chips.pop(key).deleteLater()
        for attachment in attachments:
            if attachment.key not in self._chips:
                self._add(attachment)
        self.setVisible(bool(self._chips))
        if self._chips:
            self.setFixedHeight(self.widget().sizeHint().height() + self.horizontalScrollBar().sizeHint().height())

    def _add(self, attachment: Attachment) -> None:
        chip = AttachmentChip(attachment)
        chip.removed.connect(self.removed)
        self._chips[attachment.key] = chip
        self._row.insertWidget(self._row.count() - 1, chip)
        self._loader.load(attachment.key, attachment.source)

    def _on_loaded(self, key: int, image: QImage) -> None:
        if key in self._chips:
            self._chips[key].show_thumbnail(image)


def _elided(metrics: QFontMetrics, name: str) -> str:
    return metrics.elidedText(name, Qt.TextElideMode.ElideMiddle, NAME_WIDTH)


def _rounded_square(image: QImage, edge: int, ratio: float) -> QPixmap:
    """The middle of the picture, filling a square with soft corners."""
    pixmap = QPixmap(QSize(edge, edge) * ratio)
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    side = min(image.width(), image.height())
    middle = QRect((image.width() - side) // 2, (image.height() - side) // 2, side, side)
    painter = QPainter(pixmap)
    painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
    path = QPainterPath()
    path.addRoundedRect(QRectF(0, 0, edge, edge), 6, 6)
    painter.setClipPath(path)
    painter.drawImage(QRect(0, 0, edge, edge), image, middle)
    painter.end()
    return pixmap
