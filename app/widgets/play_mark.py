"""The mark over a picture that says it stands for a clip: a triangle in a dark disc, and how long the clip lasts.

Knows nothing of the picture. The same in light and dark: it lies on the picture, not on the window.
"""

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPolygonF

_DARK = QColor(0, 0, 0, 165)
_LIGHT = QColor(255, 255, 255)
_EDGE = QColor(255, 255, 255, 110)


def paint_play_mark(painter: QPainter, centre: QPointF, radius: float) -> None:
    painter.setPen(_EDGE)
    painter.setBrush(_DARK)
    painter.drawEllipse(centre, radius, radius)
    half = radius * 0.42
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(_LIGHT)
    # A little to the right: a triangle's weight is not in the middle of its box.
    tip, back = QPointF(half * 1.2, 0), -half * 0.75
    painter.drawPolygon(QPolygonF([centre + QPointF(back, -half), centre + tip, centre + QPointF(back, half)]))


def paint_duration(painter: QPainter, corner: QPointF, text: str, font: QFont) -> None:
    """`corner`: the lower right one of the label."""
    metrics = QFontMetricsF(font)
    size = metrics.boundingRect(text).size()
    box = QRectF(0, 0, size.width() + 10, metrics.height() + 2)
    box.moveBottomRight(corner)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(_DARK)
    painter.drawRoundedRect(box, 4, 4)
    painter.setPen(_LIGHT)
    painter.setFont(font)
    painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)
