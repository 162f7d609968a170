"""A copy button that says for a moment that it has copied.

Knows nothing of the clipboard or of what is copied.
"""

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QWidget

from app.widgets.quiet_button import QuietButton

_MOMENT_MS = 1500


class CopyButton(QuietButton):
    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__("copy", name, parent)
        self._moment = QTimer(self)
        self._moment.setSingleShot(True)
        self._moment.setInterval(_MOMENT_MS)
        self._moment.timeout.connect(lambda: self.set_icon_name("copy"))
        self.clicked.connect(self._on_clicked)

    def _on_clicked(self) -> None:
        self.set_icon_name("check")
        self._moment.start()
