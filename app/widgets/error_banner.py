"""A line across the chat that says what went wrong and what to do about it, until it is dismissed.

Knows nothing of errors' causes; never shows a stack trace, because it is never handed one.
"""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from app.widgets.icon_button import IconButton


class ErrorBanner(QFrame):
    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "banner")
        self.setProperty("tone", "error")
        self.message_label = _line("heading")
        self.hint_label = _line("muted")
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addWidget(self.message_label)
        words.addWidget(self.hint_label)
        self.dismiss_button = IconButton("close", "Dismiss")
        self.dismiss_button.clicked.connect(self.hide)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(14, 10, 8, 10)
        layout.addLayout(words, 1)
        layout.addWidget(self.dismiss_button, 0, Qt.AlignmentFlag.AlignTop)
        self.hide()

    @property
    def message(self) -> str:
        return self.message_label.text()

    @property
    def hint(self) -> str:
        return self.hint_label.text()

    def show_error(self, message: str, hint: str = "") -> None:
        self.message_label.setText(message)
        self.hint_label.setText(hint)
        self.hint_label.setVisible(bool(hint))
        self.setAccessibleName(f"Error: {message} {hint}".strip())
        self.show()


def _line(role: str) -> QLabel:
    label = QLabel()
    label.setProperty("role", role)
    label.setWordWrap(True)
    # A message may quote a file or a model: never markup.
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
