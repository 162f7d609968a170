"""A check box and a radio button in the theme's colours, their outlines plain to see in the dark as well.

Know nothing of what is chosen.
"""

from PySide6.QtCore import QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QApplication, QCheckBox, QRadioButton

from app.icons import load_icon
from app.theme import Theme

_SIDE = 18
_GAP = 8
_HEIGHT = 24


class _Choice:
    """Comes before the button's own class among the bases."""

    _roundness = 0.0

    def sizeHint(self: QAbstractButton) -> QSize:
        return QSize(_SIDE + _GAP + self.fontMetrics().horizontalAdvance(self.text()) + 6, _HEIGHT)

    def minimumSizeHint(self: QAbstractButton) -> QSize:
        return QSize(_SIDE + _GAP, _HEIGHT)

    def hitButton(self: QAbstractButton, position: object) -> bool:
        return QRect(0, 0, self.sizeHint().width(), self.height()).contains(position)

    def paintEvent(self: QAbstractButton, event: QPaintEvent) -> None:
        theme = Theme.current(QApplication.instance())
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(2, (self.height() - _SIDE) / 2, _SIDE, _SIDE).adjusted(1, 1, -1, -1)
        edge = theme.accent if self.hasFocus() or (self.isChecked() and self.isEnabled()) else theme.muted
        painter.setPen(QPen(QColor(edge), 2 if self.hasFocus() else 1.4))
        is_filled = self.isChecked() and self.isEnabled()
        painter.setBrush(QColor(theme.accent if is_filled else theme.pressed if self.isDown() else theme.background))
        painter.drawRoundedRect(box, self._roundness, self._roundness)
        if self.isChecked():
            self._paint_mark(painter, box, theme.accent_text if is_filled else theme.muted)
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor(theme.accent), 1))
            painter.drawRoundedRect(box.adjusted(-2.5, -2.5, 2.5, 2.5), self._roundness + 2.5, self._roundness + 2.5)
        painter.setPen(QColor(theme.text if self.isEnabled() else theme.muted))
        words = self.rect().adjusted(_SIDE + _GAP + 2, 0, 0, 0)
        text = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, words.width())
        painter.drawText(words, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, text)


class CheckBox(_Choice, QCheckBox):
    _roundness = 4.0

    def _paint_mark(self, painter: QPainter, box: QRectF, colour: str) -> None:
        load_icon("check", colour, 14).paint(painter, box.toRect().adjusted(1, 1, -1, -1))


class RadioButton(_Choice, QRadioButton):
    _roundness = _SIDE / 2

    def _paint_mark(self, painter: QPainter, box: QRectF, colour: str) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(colour))
        painter.drawEllipse(box.center(), 3.5, 3.5)
