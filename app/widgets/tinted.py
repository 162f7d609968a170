"""Keeps a button's icon in the colours of the theme, also when the theme changes.

Knows nothing of what the button is for.
"""

from PySide6.QtCore import QEvent
from PySide6.QtWidgets import QApplication

from app.icons import load_icon
from app.theme import Theme


class Tinted:
    """Comes before the button's own class among the bases; `set_icon_name` is called once the button is built."""

    _icon_name = ""
    _tinted_with = ""

    def set_icon_name(self, name: str) -> None:
        if name != self._icon_name:
            self._icon_name = name
            self._tinted_with = ""
            self._tint()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.EnabledChange):
            self._tint()

    def _tint(self) -> None:
        theme = Theme.current(QApplication.instance())
        is_filled = self.property("role") == "round" and self.isEnabled()
        colour = theme.accent_text if is_filled else theme.muted
        if self._icon_name and colour != self._tinted_with:
            self._tinted_with = colour
            self.setIcon(load_icon(self._icon_name, colour))
