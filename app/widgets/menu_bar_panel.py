"""Whether Fovea is in the menu bar, and goes on there when its window is closed.

Knows nothing of the item itself; it shows `MenuBarState` and hands choices to it.
"""

from PySide6.QtWidgets import QWidget

from app.state.menu_bar import PLACE, MenuBarState
from app.widgets.choices import CheckBox
from app.widgets.section import Section


class MenuBarPanel(Section):
    def __init__(self, state: MenuBarState, parent: QWidget | None = None) -> None:
        super().__init__(PLACE.capitalize(), parent)
        self.shown = CheckBox(f"Show Fovea in the {PLACE}")
        self.shown.clicked.connect(state.show)
        self.keeps = CheckBox("Keep the local API on when the window is closed")
        self.keeps.clicked.connect(state.keep_running)
        self.body.addWidget(self.shown)
        self.body.addWidget(self.keeps)
        state.changed.connect(self._show_state)
        self._show_state(state)

    def _show_state(self, state: MenuBarState) -> None:
        self.shown.setChecked(state.choices.is_shown)
        self.keeps.setChecked(state.is_shown and state.choices.keeps_running)
        self.keeps.setEnabled(state.is_shown)
        self.setVisible(state.is_available)
