"""What a model thought before it answered: muted, and folded away until somebody asks for it.

Knows nothing of the answer.
"""

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QTextCursor
from PySide6.QtWidgets import QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from app.theme import Spacing
from app.widgets.text_pane import TextPane
from app.widgets.tinted import Tinted


class _Fold(Tinted, QToolButton):
    """The line that folds and unfolds."""


class ThinkingPanel(QWidget):
    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.fold = _Fold()
        self.fold.setCheckable(True)
        self.fold.setProperty("role", "fold")
        self.fold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.fold.setIconSize(QSize(14, 14))
        self.fold.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.fold.set_icon_name("chevron-right")
        self.fold.toggled.connect(self._on_toggled)
        self.pane = TextPane("Thoughts")
        self.pane.setProperty("tone", "muted")
        self.pane.hide()
        indented = QHBoxLayout()
        indented.setContentsMargins(Spacing().huge, 0, 0, 0)
        indented.addWidget(self.pane)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, Spacing().small)
        layout.setSpacing(Spacing().tiny)
        layout.addWidget(self.fold, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addLayout(indented)
        self._say("Thinking…")

    def append(self, text: str) -> None:
        cursor = QTextCursor(self.pane.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        cursor.insertText(text)
        self.pane.fit()

    def finish(self) -> None:
        self._say("Thoughts")

    def _say(self, what: str) -> None:
        self.fold.setText(what)
        self.fold.setAccessibleName(f"{what} Show or hide them.")

    def _on_toggled(self, unfolded: bool) -> None:
        self.fold.set_icon_name("chevron-down-line" if unfolded else "chevron-right")
        self.pane.setVisible(unfolded)
        self.pane.fit()
