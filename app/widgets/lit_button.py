"""An icon button with a dot that shines while what it stands for is on.

Knows nothing of what that is.
"""

from PySide6.QtCore import QPointF
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QApplication

from app.theme import Theme
from app.widgets.icon_button import IconButton

_RADIUS = 4


class LitButton(IconButton):
    _is_lit = False

    @property
    def is_lit(self) -> bool:
        return self._is_lit

    def set_lit(self, lit: bool) -> None:
        if lit != self._is_lit:
            self._is_lit = lit
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self._is_lit:
            return
        theme = Theme.current(QApplication.instance())
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        # A rim parts it from the icon beneath.
        painter.setPen(QPen(QColor(theme.background), 1.5))
        painter.setBrush(QColor(theme.accent))
        painter.drawEllipse(QPointF(self.width() - 7, 7), _RADIUS, _RADIUS)
