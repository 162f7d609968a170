"""One value to be copied: what it is, the value in letters of one width, and buttons.

Knows nothing of the clipboard; it says that copying was asked for.
"""

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QHBoxLayout, QWidget

from app.widgets.copy_button import CopyButton
from app.widgets.elided_label import ElidedLabel
from app.widgets.section import titled

NAME_WIDTH = 76
HEIGHT = 32


class ValueRow(QWidget):
    """Signals: `copy_requested()`. Attributes: `copy_button`; `buttons`, a layout for more of them."""

    copy_requested = Signal()

    def __init__(self, name: str, copy_name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._name = name
        label = titled(name, "muted")
        label.setFixedWidth(NAME_WIDTH)
        self.value_label = ElidedLabel()
        self.value_label.setProperty("role", "code")
        self.value_label.setTextFormat(Qt.TextFormat.PlainText)
        self.value_label.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.value_label.setContentsMargins(10, 0, 10, 0)
        self.value_label.setMinimumHeight(HEIGHT)
        self.copy_button = CopyButton(copy_name)
        self.copy_button.clicked.connect(self.copy_requested)
        self.buttons = QHBoxLayout()
        self.buttons.setSpacing(4)
        self.buttons.addWidget(self.copy_button)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(label)
        layout.addWidget(self.value_label, 1)
        layout.addLayout(self.buttons)

    @property
    def value(self) -> str:
        return self.value_label.text()

    def show_value(self, text: str, *, spoken: str = "") -> None:
        """`spoken` is what is read aloud for it."""
        self.value_label.setText(text)
        self.value_label.setAccessibleName(f"{self._name}: {spoken or text}")
        self.copy_button.setEnabled(bool(text))
