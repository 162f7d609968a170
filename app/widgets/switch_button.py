"""A switch that slides from off to on.

Knows nothing of what it turns on. A click only asks: whoever holds it says when it is on.
"""

from PySide6.QtCore import QEvent, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QEnterEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QApplication, QSizePolicy, QWidget

from app.theme import Theme

_TRACK = QSize(52, 30)
_RING = 3
"""Around the track, where the keyboard's focus is shown."""
_GAP = 3


class SwitchButton(QAbstractButton):
    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setCheckable(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def sizeHint(self) -> QSize:
        return QSize(_TRACK.width() + 2 * _RING, _TRACK.height() + 2 * _RING)

    def nextCheckState(self) -> None:
        """It moves once what it turns on has, and not before."""

    def enterEvent(self, event: QEnterEvent) -> None:
        super().enterEvent(event)
        self.update()

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = Theme.current(QApplication.instance())
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        track = QRectF(_RING, _RING, _TRACK.width(), _TRACK.height())
        self._paint_track(painter, theme, track)
        self._paint_knob(painter, theme, track)
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor(theme.text), 1.5))
            ring = QRectF(self.rect()).adjusted(1, 1, -1, -1)
            painter.drawRoundedRect(ring, ring.height() / 2, ring.height() / 2)

    def _paint_track(self, painter: QPainter, theme: Theme, track: QRectF) -> None:
        """Off is hollow: told from on without colours, too."""
        if self.isChecked():
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(theme.accent_hover if self.underMouse() else theme.accent))
        else:
            painter.setPen(QPen(QColor(theme.muted), 1.5))
            painter.setBrush(QColor(theme.pressed if self.underMouse() else theme.background))
            track = track.adjusted(0.75, 0.75, -0.75, -0.75)
        painter.drawRoundedRect(track, track.height() / 2, track.height() / 2)

    def _paint_knob(self, painter: QPainter, theme: Theme, track: QRectF) -> None:
        size = track.height() - 2 * _GAP
        if not self.isChecked():
            size -= 4
        centre = track.right() - track.height() / 2 if self.isChecked() else track.left() + track.height() / 2
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(theme.accent_text if self.isChecked() else theme.muted))
        painter.drawEllipse(QRectF(centre - size / 2, track.center().y() - size / 2, size, size))
