"""Fovea's item in the menu bar: the local API's switch and state, the loaded model, the window, and the way out.

Knows nothing of servers or models; it shows their states and hands wishes to them.
"""

import sys
from collections.abc import Callable

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QAction, QIcon
from PySide6.QtWidgets import QApplication, QMenu, QSystemTrayIcon

from app.icons import load_icon
from app.state.menu_bar import MenuBarState
from app.state.model_rows import loaded_name, state_text
from app.state.models import ModelsState
from app.state.server import ServerState
from app.state.server_wording import state_word
from app.theme import Theme

_SIZE = 20
_MESSAGE_MS = 8000


class Tray(QObject):
    """Signals: `open_requested()`, `page_requested()` for the page of the local API, `quit_requested()`."""

    open_requested = Signal()
    page_requested = Signal()
    quit_requested = Signal()

    def __init__(
        self, server: ServerState, models: ModelsState, choices: MenuBarState, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._server = server
        self._models = models
        self._choices = choices
        self._shown_icon = ("", "")
        self.item = QSystemTrayIcon(self)
        self.menu = QMenu()
        self.state_line = self._add("", None)
        self.switch = self._add("Local API", lambda: server.turn(not server.looks_on))
        self.switch.setCheckable(True)
        self.menu.addSeparator()
        self.model_line = self._add("", None)
        self.unload = self._add("Unload the Model", models.unload)
        self.menu.addSeparator()
        self._add("Open Fovea", self.open_requested.emit)
        self._add("Local API Settings…", self.page_requested.emit)
        self._add("Hide This Icon", self._on_hide)
        self.menu.addSeparator()
        self._add("Quit Fovea", self.quit_requested.emit)
        self.item.setContextMenu(self.menu)
        self.item.activated.connect(self._on_activated)
        for state in (server, models, choices):
            state.changed.connect(lambda _state: self._show_states())
        QApplication.instance().styleHints().colorSchemeChanged.connect(lambda _scheme: self._show_icon())
        self._show_states()

    def tell_once(self, place: str) -> None:
        """That the app goes on without its window; the first time only."""
        if self._choices.choices.was_told or not self._choices.is_shown:
            return
        self._choices.note_told()
        self.item.showMessage(
            f"Fovea is still in the {place}",
            "The local API stays on. Turn it off or quit from there.",
            self.item.icon(),
            _MESSAGE_MS,
        )

    def close(self) -> None:
        self.item.hide()
        self.menu.deleteLater()

    def _add(self, text: str, run: Callable[[], object] | None) -> QAction:
        action = self.menu.addAction(text)
        action.setEnabled(run is not None)
        if run is not None:
            action.triggered.connect(lambda _checked=False: run())
        return action

    def _show_states(self) -> None:
        server, models = self._server, self._models
        self.state_line.setText(state_word(server))
        self.switch.setChecked(server.looks_on)
        name, words = loaded_name(models), state_text(models)
        self.model_line.setText(f"{name}: {words}" if models.loaded else words)
        self.unload.setEnabled(models.loaded is not None and models.activity is None)
        self._show_icon()
        self.item.setToolTip(f"Fovea: {state_word(server)}")
        if self.item.isVisible() != self._choices.is_shown:
            self.item.setVisible(self._choices.is_shown)

    def _show_icon(self) -> None:
        """A mask on macOS, which gives it the colour of the menu bar; elsewhere the colour of text."""
        name = "menu-bar-on" if self._server.is_on else "menu-bar-off"
        colour = "#000000" if sys.platform == "darwin" else Theme.current(QApplication.instance()).text
        if self._shown_icon != (name, colour):
            self._shown_icon = name, colour
            icon: QIcon = load_icon(name, colour, _SIZE)
            icon.setIsMask(True)
            self.item.setIcon(icon)

    def _on_activated(self, reason: QSystemTrayIcon.ActivationReason) -> None:
        # On macOS a click opens the menu, and nothing else.
        if reason is QSystemTrayIcon.ActivationReason.Trigger and sys.platform != "darwin":
            self.open_requested.emit()

    def _on_hide(self) -> None:
        """Without the item, the window is the only way back."""
        self.open_requested.emit()
        self._choices.show(False)
