"""The key of the local API: masked until somebody wants to see it, copied, and made anew after a second thought.

Knows nothing of where it is kept; it shows `ServerState` and hands wishes to it.
"""

from itertools import pairwise

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from app.state.server import ServerState
from app.widgets.icon_button import IconButton
from app.widgets.section import caption
from app.widgets.value_row import ValueRow

WARNING = "Programs that have the old key cannot use the model until they are given the new one."


class KeyRow(QWidget):
    """Signals: `copy_requested()`."""

    copy_requested = Signal()

    def __init__(self, state: ServerState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self.row = ValueRow("Key", "Copy the key")
        self.row.copy_requested.connect(self.copy_requested)
        self.show_button = IconButton("eye", "Show the key")
        self.show_button.clicked.connect(lambda: state.show_key(not state.is_key_shown))
        self.renew_button = IconButton("refresh", "Make a new key")
        self.renew_button.clicked.connect(self._on_renew)
        self.row.buttons.insertWidget(0, self.show_button)
        self.row.buttons.addWidget(self.renew_button)
        self.problem = caption(" ")
        self.problem.setProperty("tone", "error")
        self.confirmation = _Confirmation()
        self.confirmation.confirmed.connect(self._on_confirmed)
        self.confirmation.refused.connect(self._on_refused)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self.row)
        layout.addWidget(self.problem)
        layout.addWidget(self.confirmation)
        for before, after in pairwise((self.show_button, self.row.copy_button, self.renew_button)):
            self.setTabOrder(before, after)
        state.changed.connect(self._show_state)
        self._show_state(state)

    def _show_state(self, state: ServerState) -> None:
        if state.is_key_shown:
            self.row.show_value(state.key)
        else:
            self.row.show_value(state.masked_key, spoken="hidden")
        icon, name = ("eye-off", "Hide the key") if state.is_key_shown else ("eye", "Show the key")
        self.show_button.set_meaning(icon, name)
        for button in (self.show_button, self.renew_button):
            button.setEnabled(bool(state.key))
        problem = state.key_problem
        words = state.key_note if problem is None else f"{problem.message} {problem.hint}".strip()
        self.problem.setText(words)
        self.problem.setVisible(bool(words))

    def _on_renew(self) -> None:
        self.confirmation.show()
        self.confirmation.keep_button.setFocus()

    def _on_confirmed(self) -> None:
        self._on_refused()
        self._state.renew_key()

    def _on_refused(self) -> None:
        self.confirmation.hide()
        self.renew_button.setFocus()


class _Confirmation(QFrame):
    """Signals: `confirmed()`, `refused()`."""

    confirmed = Signal()
    refused = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "banner")
        self.renew_button = QPushButton("Make a new key")
        self.renew_button.clicked.connect(self.confirmed)
        self.keep_button = QPushButton("Keep it")
        self.keep_button.clicked.connect(self.refused)
        words = caption(WARNING)
        words.setProperty("role", "")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(14, 10, 10, 10)
        layout.setSpacing(8)
        layout.addWidget(words, 1)
        layout.addWidget(self.renew_button)
        layout.addWidget(self.keep_button)
        self.hide()
