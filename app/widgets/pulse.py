"""A dot that breathes, with a few words on what is going on.

Knows nothing of what it waits for. Its timer only runs while it can be seen.
"""

from math import pi, sin

from PySide6.QtCore import QRectF, QSize, Qt, QTimer
from PySide6.QtGui import QColor, QHideEvent, QPainter, QPaintEvent, QShowEvent
from PySide6.QtWidgets import QApplication, QSizePolicy, QWidget

from app.theme import Theme

_INTERVAL_MS = 50
_STEPS = 28
_RADIUS = 5
_HEIGHT = 24


class Pulse(QWidget):
    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.text = ""
        self._step = 0
        self._timer = QTimer(self)
        self._timer.setInterval(_INTERVAL_MS)
        self._timer.timeout.connect(self._on_tick)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Waiting for the answer")

    def say(self, text: str) -> None:
        self.text = text
        self.setAccessibleName(text or "Waiting for the answer")
        self.show()
        self.update()

    def stop(self) -> None:
        self.hide()

    def sizeHint(self) -> QSize:
        return QSize(100, _HEIGHT)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._timer.start()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._timer.stop()

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = Theme.current(QApplication.instance())
        colour = QColor(theme.accent)
        colour.setAlphaF(0.45 + 0.55 * abs(sin(pi * self._step / _STEPS)))
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colour)
        painter.drawEllipse(QRectF(1, self.height() / 2 - _RADIUS, 2 * _RADIUS, 2 * _RADIUS))
        painter.setPen(QColor(theme.muted))
        words = self.rect().adjusted(2 * _RADIUS + 10, 0, 0, 0)
        painter.drawText(words, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, self.text)

    def _on_tick(self) -> None:
        self._step = (self._step + 1) % _STEPS
        self.update()
