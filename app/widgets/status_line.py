"""The small print under the composer: what is going on, and how full the context is.

Knows nothing of events; it is handed sentences.
"""

from PySide6.QtWidgets import QHBoxLayout, QLabel, QWidget


class StatusLine(QWidget):
    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._left = QLabel()
        self._right = QLabel()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(12, 0, 12, 0)
        for label in (self._left, self._right):
            label.setProperty("role", "caption")
        layout.addWidget(self._left, 1)
        layout.addWidget(self._right)

    @property
    def activity(self) -> str:
        return self._left.text()

    @property
    def context(self) -> str:
        return self._right.text()

    def show_activity(self, sentence: str) -> None:
        self._left.setText(sentence)

    def show_context(self, sentence: str) -> None:
        self._right.setText(sentence)
