"""An icon button that can fade out of sight while it stays in its place and can be reached by keyboard.

Knows nothing of when it is wanted; whoever holds it says so.
"""

from PySide6.QtGui import QPaintEvent
from PySide6.QtWidgets import QWidget

from app.widgets.icon_button import IconButton


class QuietButton(IconButton):
    def __init__(self, icon: str, name: str, parent: QWidget | None = None) -> None:
        super().__init__(icon, name, parent=parent)
        self._is_revealed = True

    @property
    def is_revealed(self) -> bool:
        """Whether it is painted; with the keyboard's focus it always is."""
        return self._is_revealed or self.hasFocus()

    def set_revealed(self, revealed: bool) -> None:
        if revealed != self._is_revealed:
            self._is_revealed = revealed
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        if self.is_revealed:
            super().paintEvent(event)
