"""A picture in the conversation, small and with round corners; a click or Return asks for a larger one.

Knows nothing of files or of what the larger one looks like.
"""

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPainterPath, QPaintEvent, QPen, QPixmap
from PySide6.QtWidgets import QAbstractButton, QApplication, QWidget

from app.icons import load_icon
from app.theme import Theme

_LARGEST = QSize(220, 180)
_EMPTY = QSize(96, 72)


class Thumbnail(QAbstractButton):
    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pixmap = QPixmap()
        self.setAccessibleName(name)
        self.setToolTip("Show larger")
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFixedSize(_EMPTY)

    def show_image(self, image: QImage) -> None:
        if image.isNull():
            return
        size = image.size()
        if size.width() > _LARGEST.width() or size.height() > _LARGEST.height():
            size = size.scaled(_LARGEST, Qt.AspectRatioMode.KeepAspectRatio)
        size = size.expandedTo(QSize(24, 24))
        density = self.devicePixelRatioF()
        self._pixmap = QPixmap.fromImage(
            image.scaled(
                size * density, Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode.SmoothTransformation
            )
        )
        self._pixmap.setDevicePixelRatio(density)
        self.setFixedSize(size)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = Theme.current(QApplication.instance())
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        outline = QPainterPath()
        outline.addRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), theme.radii.medium, theme.radii.medium)
        painter.setClipPath(outline)
        painter.fillPath(outline, QColor(theme.surface))
        if self._pixmap.isNull():
            load_icon("picture", theme.muted, 28).paint(painter, self.rect())
        else:
            painter.drawPixmap(0, 0, self._pixmap)
        painter.setClipping(False)
        painter.setPen(QPen(QColor(theme.accent), 2) if self.hasFocus() else QPen(QColor(theme.border), 1))
        painter.drawPath(outline)

    def keyPressEvent(self, event) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.click()
        else:
            super().keyPressEvent(event)
