"""The page of the local API: joins its state to the switch, the key, who may connect, set-up lines and the log.

Knows nothing of servers; what a person does here goes to the state, and the state's changes are shown here.
"""

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QHideEvent, QShowEvent
from PySide6.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from app.state.menu_bar import MenuBarState
from app.state.models import ModelsState
from app.state.server import ServerState
from app.state.snippets import Snippet, make_snippets
from app.widgets.access_panel import AccessPanel
from app.widgets.centred import centred
from app.widgets.error_banner import ErrorBanner
from app.widgets.menu_bar_panel import MenuBarPanel
from app.widgets.request_panel import RequestPanel
from app.widgets.snippet_panel import SnippetPanel
from app.widgets.switch_panel import SwitchPanel
from engine.api.events import Failed

COLUMN_WIDTH = 720


class ServerPage(QScrollArea):
    def __init__(
        self, state: ServerState, models: ModelsState, menu_bar: MenuBarState, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._state = state
        self._models = models
        self.banner = ErrorBanner()
        self.switch = SwitchPanel(state, models)
        self.snippets = SnippetPanel()
        self.access = AccessPanel(state)
        self.requests = RequestPanel(state)
        self.menu_bar = MenuBarPanel(menu_bar)
        self.setAccessibleName("Local API")
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.verticalScrollBar().setSingleStep(24)
        self._lay_out()
        self.switch.copy_requested.connect(_copy)
        self.snippets.copy_requested.connect(lambda index: _copy(self._make_snippets(state.key)[index].code))
        state.changed.connect(lambda _state: self._show_snippets())
        models.changed.connect(lambda _models: self._show_snippets())
        models.failed.connect(self._on_model_failed)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        # Neither the keychain nor the colours are asked for before somebody looks.
        self._state.read_key()
        self._show_snippets()
        self.switch.button.setFocus()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self.banner.hide()

    def _lay_out(self) -> None:
        column = QWidget()
        column.setMaximumWidth(COLUMN_WIDTH)
        stack = QVBoxLayout(column)
        stack.setContentsMargins(0, 0, 0, 0)
        stack.setSpacing(14)
        for panel in (self.banner, self.switch, self.snippets, self.requests, self.access, self.menu_bar):
            stack.addWidget(panel)
        stack.addStretch(1)
        page = QWidget()
        page.setProperty("role", "page")
        layout = QVBoxLayout(page)
        layout.setContentsMargins(20, 20, 20, 24)
        layout.addLayout(centred(column))
        self.setWidget(page)

    def _on_model_failed(self, failed: Failed) -> None:
        """The model is chosen above this page, too. On the chat's page it is told as well."""
        if self.isVisible():
            self.banner.show_error(failed.message, failed.hint)

    def _show_snippets(self) -> None:
        if self.isVisible():
            shown = self._state.key if self._state.is_key_shown else self._state.masked_key
            self.snippets.show_snippets(self._make_snippets(shown))

    def _make_snippets(self, key: str) -> tuple[Snippet, ...]:
        address = self._state.address or f"http://127.0.0.1:{self._state.options.port}"
        return make_snippets(address, key, self._models.loaded.source if self._models.loaded else "")


def _copy(text: str) -> None:
    QGuiApplication.clipboard().setText(text)
