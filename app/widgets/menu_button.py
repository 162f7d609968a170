"""A flat button whose arrow says that a list opens beneath it.

Knows nothing of the list.
"""

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QPushButton, QWidget

from app.widgets.tinted import Tinted


class MenuButton(Tinted, QPushButton):
    def __init__(self, text: str, parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self.setProperty("role", "quiet")
        # The arrow comes after the words.
        self.setLayoutDirection(Qt.LayoutDirection.RightToLeft)
        self.setIconSize(QSize(14, 14))
        self.set_icon_name("chevron-down")
