"""A small button that is nothing but an icon, named for those who do not see it.

Knows nothing of what it does.
"""

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QToolButton, QWidget

from app.widgets.tinted import Tinted

SIZE = QSize(18, 18)


class IconButton(Tinted, QToolButton):
    """`role="round"` makes it a filled circle, as for sending."""

    def __init__(self, icon: str, name: str, tip: str = "", *, role: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        if role:
            self.setProperty("role", role)
        self.setIconSize(SIZE)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.set_meaning(icon, name, tip)

    def set_meaning(self, icon: str, name: str, tip: str = "") -> None:
        self.set_icon_name(icon)
        self.setAccessibleName(name)
        self.setToolTip(tip or name)
