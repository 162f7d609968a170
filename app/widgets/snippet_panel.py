"""Lines that set up other programs, one program at a time, ready to be copied.

Knows nothing of how the lines are made; it shows what it is handed, and says what is to be copied.
"""

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QTabBar, QWidget

from app.state.snippets import Snippet
from app.widgets.code_view import CodeView
from app.widgets.copy_button import CopyButton
from app.widgets.section import Section, caption


class SnippetPanel(Section):
    """Signals: `copy_requested(index)`, of the snippet that is shown."""

    copy_requested = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Use it from", parent)
        self._snippets: tuple[Snippet, ...] = ()
        self.tabs = QTabBar()
        self.tabs.setProperty("role", "segments")
        self.tabs.setDrawBase(False)
        self.tabs.setExpanding(False)
        self.tabs.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.tabs.setAccessibleName("Programs")
        self.where = caption()
        self.where.setWordWrap(True)
        self.copy_button = CopyButton("Copy these lines")
        self.copy_button.clicked.connect(lambda: self.copy_requested.emit(self.tabs.currentIndex()))
        self.code = CodeView("Lines to copy")
        above = QHBoxLayout()
        above.addWidget(self.where, 1)
        above.addWidget(self.copy_button)
        self.body.setSpacing(6)
        self.body.addWidget(self.tabs)
        self.body.addLayout(above)
        self.body.addWidget(self.code)
        self.tabs.currentChanged.connect(lambda _index: self._show())

    def show_snippets(self, snippets: Sequence[Snippet]) -> None:
        if tuple(snippets) == self._snippets:
            return
        self._snippets = tuple(snippets)
        while self.tabs.count() < len(self._snippets):
            self.tabs.addTab(self._snippets[self.tabs.count()].name)
        self._show()

    def _show(self) -> None:
        if 0 <= self.tabs.currentIndex() < len(self._snippets):
            snippet = self._snippets[self.tabs.currentIndex()]
            self.where.setText(snippet.where)
            self.code.show_code(snippet.code, snippet.language)
