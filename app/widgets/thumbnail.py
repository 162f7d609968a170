"""A picture or a clip's poster in the conversation, small and with round corners; a click or Return asks for more.

Knows nothing of files, of what the larger picture looks like, or of what plays the clip.
"""

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QImage, QPainter, QPainterPath, QPaintEvent, QPen, QPixmap
from PySide6.QtWidgets import QAbstractButton, QApplication, QWidget

from app.icons import load_icon
from app.theme import Theme
from app.widgets.play_mark import paint_duration, paint_play_mark

_LARGEST = QSize(220, 180)
_EMPTY = QSize(96, 72)
_MARK_RADIUS = 20
_MARGIN = 7


class Thumbnail(QAbstractButton):
    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._name = name
        self._pixmap = QPixmap()
        self._is_clip = False
        self._duration = ""
        self.setAccessibleName(name)
        self.setToolTip("Show larger")
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFixedSize(_EMPTY)

    @property
    def is_clip(self) -> bool:
        return self._is_clip

    def mark_as_clip(self, duration: str) -> None:
        """`duration` as it is shown; empty where it is not known."""
        self._is_clip = True
        self._duration = duration
        self.setAccessibleName(f"{self._name}, {duration}" if duration else self._name)
        self.setToolTip("Play")
        self.update()

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
            load_icon("clip" if self._is_clip else "picture", theme.muted, 28).paint(painter, self.rect())
        else:
            painter.drawPixmap(0, 0, self._pixmap)
            if self._is_clip:
                self._paint_clip_marks(painter)
        painter.setClipping(False)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(QColor(theme.accent), 2) if self.hasFocus() else QPen(QColor(theme.border), 1))
        painter.drawPath(outline)

    def _paint_clip_marks(self, painter: QPainter) -> None:
        area = QRectF(self.rect())
        paint_play_mark(painter, area.center(), min(_MARK_RADIUS, min(area.width(), area.height()) / 3))
        if self._duration:
            paint_duration(painter, area.bottomRight() - QPointF(_MARGIN, _MARGIN), self._duration, self._small_font())

    def _small_font(self) -> QFont:
        font = self.font()
        font.setPointSizeF(Theme.current(QApplication.instance()).sizes.caption)
        return font

    def keyPressEvent(self, event) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.click()
        else:
            super().keyPressEvent(event)
