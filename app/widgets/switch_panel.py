"""The top of the page of the local API: the switch, how it is in a sentence, where it is and what opens it.

Knows nothing of servers; it shows `ServerState` and hands wishes to it.
"""

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from app.state.models import ModelsState
from app.state.server import ServerState, Switch
from app.state.server_port import ServerFailed
from app.state.server_wording import state_sentence
from app.widgets.key_row import KeyRow
from app.widgets.section import Section, titled
from app.widgets.switch_button import SwitchButton
from app.widgets.value_row import ValueRow

API_PATH = "/v1"


class SwitchPanel(Section):
    """Signals: `copy_requested(text)`."""

    copy_requested = Signal(str)

    def __init__(self, state: ServerState, models: ModelsState, parent: QWidget | None = None) -> None:
        super().__init__("Local API", parent)
        self._state = state
        self._models = models
        self.button = SwitchButton("Local API")
        self.button.clicked.connect(lambda: state.turn(not state.looks_on))
        self.heading.setProperty("role", "title")
        self.head.addWidget(self.button)
        self.sentence = titled("", "muted")
        self.sentence.setWordWrap(True)
        self.failure = FailureCard()
        self.failure.free_port_chosen.connect(state.use_free_port)
        self.failure.again_chosen.connect(lambda: state.turn(True))
        self.failure.off_chosen.connect(lambda: state.turn(False))
        self.address = ValueRow("Address", "Copy the address")
        self.address.copy_requested.connect(lambda: self.copy_requested.emit(state.address + API_PATH))
        self.key = KeyRow(state)
        self.key.copy_requested.connect(lambda: self.copy_requested.emit(state.key))
        for widget in (self.sentence, self.failure, self.address, self.key):
            self.body.addWidget(widget)
        state.changed.connect(lambda _state: self._show_state())
        models.changed.connect(lambda _models: self._show_state())
        self._show_state()

    def _show_state(self) -> None:
        state = self._state
        sentence = state_sentence(state, self._models)
        self.button.setChecked(state.looks_on)
        self.button.setAccessibleDescription(sentence)
        self.sentence.setText(sentence)
        self.sentence.setVisible(state.failure is None)
        self.failure.show_failure(state.failure)
        self.address.setVisible(state.switch is Switch.ON)
        self.address.show_value(state.address + API_PATH if state.address else "")


class FailureCard(QFrame):
    """Signals: `free_port_chosen()`, `again_chosen()`, `off_chosen()`."""

    free_port_chosen = Signal()
    again_chosen = Signal()
    off_chosen = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "banner")
        self.setProperty("tone", "error")
        self.message = _line("heading")
        self.hint = _line("muted")
        self.free_button = QPushButton()
        self.free_button.setProperty("role", "primary")
        self.free_button.clicked.connect(self.free_port_chosen)
        self.again_button = QPushButton("Try again")
        self.again_button.clicked.connect(self.again_chosen)
        self.off_button = QPushButton("Leave it off")
        self.off_button.clicked.connect(self.off_chosen)
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        for button in (self.free_button, self.again_button, self.off_button):
            buttons.addWidget(button)
        buttons.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(14, 10, 14, 12)
        layout.setSpacing(4)
        layout.addWidget(self.message)
        layout.addWidget(self.hint)
        layout.addSpacing(4)
        layout.addLayout(buttons)
        self.hide()

    def show_failure(self, failure: ServerFailed | None) -> None:
        self.setVisible(failure is not None)
        if failure is None:
            return
        self.message.setText(failure.message)
        self.hint.setText(failure.hint)
        self.hint.setVisible(bool(failure.hint))
        self.free_button.setVisible(failure.free_port is not None)
        self.free_button.setText(f"Use {failure.free_port} instead")
        self.setAccessibleName(f"Error: {failure.message} {failure.hint}".strip())


def _line(role: str) -> QLabel:
    label = titled("", role)
    label.setWordWrap(True)
    # A message may quote the name of a program: never markup.
    label.setTextFormat(Qt.TextFormat.PlainText)
    return label
