"""The one window: the model above, the chat or the local API beneath, the menus and their keys.

Knows nothing of the engine; it is handed the states and says when it closes.
"""

from collections.abc import Callable
from functools import cached_property
from itertools import pairwise

from PySide6.QtCore import QEvent, Signal
from PySide6.QtGui import QAction, QActionGroup, QCloseEvent, QKeySequence, QPalette, QShortcut, QShowEvent
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLineEdit,
    QMainWindow,
    QMenu,
    QMessageBox,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from app.icons import load_app_icon
from app.state.chat import ChatState
from app.state.server import ServerState
from app.widgets.icon_button import IconButton
from app.widgets.lit_button import LitButton
from app.widgets.model_picker import ModelPicker
from app.windows.chat_page import ChatPage

ABOUT = (
    "<h3>Fovea</h3><p>Sees and reads on your own machine. Nothing you drop or type leaves it.</p>"
    "<p>Apache License 2.0.</p>"
)


class MainWindow(QMainWindow):
    """Signals: `painted()`, once, when the window is first drawn; `closing()`; `put_away()`, when it was closed but is
    only hidden. `stays` says whether closing it is to hide it."""

    painted = Signal()
    closing = Signal()
    put_away = Signal()

    def __init__(
        self,
        chat: ChatState,
        page: ChatPage,
        picker: ModelPicker,
        server: ServerState,
        make_server_page: Callable[[], QWidget],
        stays: Callable[[], bool],
    ) -> None:
        super().__init__()
        self.setWindowTitle("Fovea")
        self.setWindowIcon(load_app_icon())
        self.setMinimumSize(480, 420)
        self.resize(860, 760)
        self._chat = chat
        self.page = page
        self.picker = picker
        self._make_server_page = make_server_page
        self._stays = stays
        self._is_leaving = False
        self._was_painted = False
        keys = QKeySequence(QKeySequence.StandardKey.New).toString(QKeySequence.SequenceFormat.NativeText)
        self.new_button = IconButton("new-chat", "New chat", f"New chat ({keys})")
        self.new_button.clicked.connect(self.begin_chat)
        self.api_button = LitButton("local-api", "Local API")
        self.api_button.setCheckable(True)
        self.api_button.clicked.connect(lambda: self.show_page(page if self.shows_server else self.server_page))
        self.pages = QStackedWidget()
        self.pages.addWidget(page)
        self._lay_out()
        self._build_menus()
        # Esc is a second key for stopping: an action shows only its first one.
        QShortcut(QKeySequence(QKeySequence.StandardKey.Cancel), self, self._on_escape)
        server.changed.connect(self._show_server)
        self._show_server(server)
        self.show_page(page)

    @cached_property
    def server_page(self) -> QWidget:
        """Built when it is first wanted: the window appears without waiting for it."""
        made = self._make_server_page()
        self.pages.addWidget(made)
        return made

    @property
    def shows_server(self) -> bool:
        return self.pages.currentWidget() is not self.page

    def show_page(self, page: QWidget) -> None:
        self.pages.setCurrentWidget(page)
        self.api_button.setChecked(self.shows_server)
        self.server_action.setChecked(self.shows_server)
        self.chat_action.setChecked(not self.shows_server)
        for action in self._of_the_chat:
            action.setEnabled(not self.shows_server)
        if not self.shows_server:
            self.page.composer.setFocus()

    def begin_chat(self) -> None:
        self.show_page(self.page)
        self._chat.clear()

    def bring_up(self) -> None:
        """In front of the other windows, wherever it was."""
        self.showNormal() if self.isMinimized() else self.show()
        self.raise_()
        self.activateWindow()

    def leave(self) -> None:
        """Close it for good."""
        self.prepare_to_leave()
        self.close()

    def prepare_to_leave(self) -> None:
        """The next time that it is closed, it is not only hidden."""
        self._is_leaving = True

    def event(self, event: QEvent) -> bool:
        handled = super().event(event)
        if event.type() == QEvent.Type.Paint and not self._was_painted:
            self._was_painted = True
            self.painted.emit()
        return handled

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if not self.shows_server:
            self.page.composer.setFocus()

    def closeEvent(self, event: QCloseEvent) -> None:
        if self._stays() and not self._is_leaving:
            event.ignore()
            self.hide()
            self.put_away.emit()
            return
        self.closing.emit()
        super().closeEvent(event)

    def _lay_out(self) -> None:
        bar = QHBoxLayout()
        bar.setContentsMargins(10, 6, 12, 6)
        bar.addWidget(self.picker, 1)
        bar.addWidget(self.api_button)
        bar.addWidget(self.new_button)
        line = QWidget()
        line.setFixedHeight(1)
        line.setAutoFillBackground(True)
        line.setBackgroundRole(QPalette.ColorRole.Mid)
        whole = QWidget()
        layout = QVBoxLayout(whole)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(bar)
        layout.addWidget(line)
        layout.addWidget(self.pages, 1)
        self.setCentralWidget(whole)
        composer = self.page.composer
        above = (self.picker.button, self.api_button, self.new_button)
        order = (composer.edit, composer.send_button, composer.attach_button, *above)
        for before, after in pairwise(order):
            self.setTabOrder(before, after)

    def _build_menus(self) -> None:
        key = QKeySequence.StandardKey
        chat_menu = self.menuBar().addMenu("&Chat")
        self._add(chat_menu, "&New Chat", key.New, self.begin_chat)
        attach = self._add(chat_menu, "&Attach Pictures or Clips…", key.Open, self.page.choose_files)
        chat_menu.addSeparator()
        self._add(chat_menu, "&Stop Answering", "Ctrl+.", self._chat.stop)
        again = self._add(chat_menu, "Answer &Again", "Ctrl+R", self._chat.regenerate)
        self._of_the_chat = (attach, again)
        chat_menu.addSeparator()
        quit_action = self._add(chat_menu, "&Quit Fovea", key.Quit, self.leave)
        quit_action.setMenuRole(QAction.MenuRole.QuitRole)
        edit_menu = self.menuBar().addMenu("&Edit")
        self._add(edit_menu, "Copy &Last Answer", "Ctrl+Shift+C", self._copy_last_answer)
        self._add(edit_menu, "&Paste", key.Paste, self._paste)
        self._build_view_menu()
        help_menu = self.menuBar().addMenu("&Help")
        about = self._add(help_menu, "&About Fovea", "", lambda: QMessageBox.about(self, "About Fovea", ABOUT))
        about.setMenuRole(QAction.MenuRole.AboutRole)

    def _build_view_menu(self) -> None:
        view_menu = self.menuBar().addMenu("&View")
        pages = QActionGroup(self)
        self.chat_action = self._add(view_menu, "&Chat", "Ctrl+1", lambda: self.show_page(self.page))
        self.server_action = self._add(view_menu, "&Local API", "Ctrl+2", lambda: self.show_page(self.server_page))
        for action in (self.chat_action, self.server_action):
            action.setCheckable(True)
            pages.addAction(action)

    def _add(self, menu: QMenu, text: str, keys: QKeySequence.StandardKey | str, run: Callable[[], object]) -> QAction:
        action = QAction(text, self)
        action.setShortcut(QKeySequence(keys))
        action.triggered.connect(lambda _checked=False: run())
        menu.addAction(action)
        return action

    def _show_server(self, server: ServerState) -> None:
        self.api_button.set_lit(server.is_on)
        state = "on" if server.is_on else "off"
        keys = QKeySequence("Ctrl+2").toString(QKeySequence.SequenceFormat.NativeText)
        self.api_button.set_meaning("local-api", f"Local API, {state}", f"Local API: {state} ({keys})")

    def _on_escape(self) -> None:
        if self.shows_server:
            self.show_page(self.page)
        else:
            self._chat.stop()

    def _paste(self) -> None:
        """On the chat wherever the focus is; elsewhere only where something can be written."""
        if not self.shows_server:
            self.page.paste()
        elif isinstance(edit := self.focusWidget(), QLineEdit):
            edit.paste()

    def _copy_last_answer(self) -> None:
        answers = [exchange.answer for exchange in self._chat.exchanges if exchange.answer]
        if answers:
            self.page.transcript.copy_requested.emit(answers[-1])
