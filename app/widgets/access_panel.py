"""Who may use the local API: this computer or the network, which web pages, which port, and whether models change.

Knows nothing of guards; it shows `ServerState` and hands choices to it.
"""

from PySide6.QtCore import Qt
from PySide6.QtGui import QIntValidator
from PySide6.QtWidgets import (
    QButtonGroup,
    QFormLayout,
    QLabel,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from app.state.server import ServerState
from app.state.server_port import Reach
from app.state.server_wording import NETWORK_WARNING
from app.widgets.choices import CheckBox, RadioButton
from app.widgets.section import Section, caption, titled
from app.widgets.value_row import NAME_WIDTH

LEAST_PORT, MOST_PORT = 1024, 65535
"""Ports below belong to the system."""


class AccessPanel(Section):
    def __init__(self, state: ServerState, parent: QWidget | None = None) -> None:
        super().__init__("Who may connect", parent)
        self.here = RadioButton("Programs on this computer")
        self.network = RadioButton("Programs on this computer and on my network")
        group = QButtonGroup(self)
        for button, reach in ((self.here, Reach.THIS_COMPUTER), (self.network, Reach.NETWORK)):
            group.addButton(button)
            button.clicked.connect(lambda _checked=False, reach=reach: state.set_reach(reach))
            self.body.addWidget(button)
        self.warning = _warning()
        self.body.addWidget(self.warning)
        self.switches = CheckBox("They may switch to other models on this computer")
        self.switches.setToolTip("A request that names one loads it, also for the chat. Nothing is downloaded.")
        self.switches.clicked.connect(state.set_switches_models)
        self.body.addWidget(self.switches)
        self.origins = QLineEdit()
        self.origins.setPlaceholderText("None. Such as http://localhost:3000")
        self.origins.setAccessibleName("Web pages that may connect")
        self.origins.editingFinished.connect(lambda: state.set_origins(self.origins.text()))
        self.origins_problem = caption(" ")
        self.origins_problem.setProperty("tone", "error")
        self.port = QLineEdit()
        self.port.setValidator(QIntValidator(LEAST_PORT, MOST_PORT, self))
        self.port.setFixedWidth(84)
        self.port.setAccessibleName("Port")
        self.port.editingFinished.connect(lambda: state.set_port(int(self.port.text())))
        self.body.addLayout(self._form())
        state.changed.connect(self._show_state)
        self.origins.setText(", ".join(state.options.origins))
        self._show_state(state)

    def _form(self) -> QFormLayout:
        form = QFormLayout()
        form.setHorizontalSpacing(8)
        form.setVerticalSpacing(8)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        pages = QVBoxLayout()
        pages.setSpacing(4)
        pages.addWidget(self.origins)
        pages.addWidget(self.origins_problem)
        for name, field, first in (("Web pages", pages, self.origins), ("Port", self.port, self.port)):
            label = titled(name, "muted")
            # Across from the field, whatever stands beneath that.
            label.setFixedSize(NAME_WIDTH, first.sizeHint().height())
            form.addRow(label, field)
        return form

    def _show_state(self, state: ServerState) -> None:
        options = state.options
        self.here.setChecked(options.reach is Reach.THIS_COMPUTER)
        self.network.setChecked(options.reach is Reach.NETWORK)
        self.warning.setVisible(options.reach is Reach.NETWORK)
        self.switches.setChecked(options.switches_models)
        self.origins_problem.setText(state.origins_problem)
        self.origins_problem.setVisible(bool(state.origins_problem))
        if not state.origins_problem and not self.origins.hasFocus():
            self.origins.setText(", ".join(options.origins))
        if not self.port.hasFocus() or state.failure is not None:
            self.port.setText(str(options.port))


def _warning() -> QLabel:
    label = QLabel(NETWORK_WARNING)
    label.setProperty("role", "warning")
    label.setWordWrap(True)
    return label
