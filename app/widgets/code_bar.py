"""The strip along the top of a code block: its language, and a button that copies it once it is complete.

Knows nothing of where the block lies; whoever shows it moves it there.
"""

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QWidget

from app.widgets.copy_button import CopyButton
from app.widgets.markdown_writer import CodeSpan


class CodeBar(QWidget):
    """Signals: `copy_requested(code)`. Attributes: `span`, the block it belongs to."""

    copy_requested = Signal(str)

    def __init__(self, parent: QWidget, *, is_final: bool) -> None:
        super().__init__(parent)
        self.span = CodeSpan(0, 0, "", "")
        self._language = QLabel()
        self._language.setProperty("role", "caption")
        self.button = CopyButton("Copy the code")
        self.button.clicked.connect(lambda: self.copy_requested.emit(self.span.code))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(12, 2, 4, 0)
        layout.addWidget(self._language, 1)
        layout.addWidget(self.button)
        self.button.setVisible(is_final)

    def show_span(self, span: CodeSpan) -> None:
        if span != self.span:
            self.span = span
            self._language.setText(span.language)
            self.button.setAccessibleName(f"Copy the {span.language or 'code'} block")
        self.show()
