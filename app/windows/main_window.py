"""The one window: the model above, the chat beneath, the menus and their keys.

Knows nothing of the engine; it is handed the states and says when it closes.
"""

from collections.abc import Callable
from itertools import pairwise

from PySide6.QtCore import QEvent, Signal
from PySide6.QtGui import QAction, QCloseEvent, QKeySequence, QPalette, QShortcut, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QMainWindow, QMenu, QMessageBox, QVBoxLayout, QWidget

from app.icons import load_app_icon
from app.state.chat import ChatState
from app.widgets.icon_button import IconButton
from app.widgets.model_picker import ModelPicker
from app.windows.chat_page import ChatPage

ABOUT = (
    "<h3>Fovea</h3><p>Sees and reads on your own machine. Nothing you drop or type leaves it.</p>"
    "<p>Apache License 2.0.</p>"
)


class MainWindow(QMainWindow):
    """Signals: `painted()`, once, when the window is first drawn; `closing()`."""

    painted = Signal()
    closing = Signal()

    def __init__(self, chat: ChatState, page: ChatPage, picker: ModelPicker) -> None:
        super().__init__()
        self.setWindowTitle("Fovea")
        self.setWindowIcon(load_app_icon())
        self.setMinimumSize(480, 420)
        self.resize(860, 760)
        self._chat = chat
        self.page = page
        self.picker = picker
        self._was_painted = False
        keys = QKeySequence(QKeySequence.StandardKey.New).toString(QKeySequence.SequenceFormat.NativeText)
        self.new_button = IconButton("new-chat", "New chat", f"New chat ({keys})")
        self.new_button.clicked.connect(chat.clear)
        self._lay_out()
        self._build_menus()
        # Esc is a second key for stopping: an action shows only its first one.
        QShortcut(QKeySequence(QKeySequence.StandardKey.Cancel), self, chat.stop)
        page.composer.setFocus()

    def event(self, event: QEvent) -> bool:
        handled = super().event(event)
        if event.type() == QEvent.Type.Paint and not self._was_painted:
            self._was_painted = True
            self.painted.emit()
        return handled

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.page.composer.setFocus()

    def closeEvent(self, event: QCloseEvent) -> None:
        self.closing.emit()
        super().closeEvent(event)

    def _lay_out(self) -> None:
        bar = QHBoxLayout()
        bar.setContentsMargins(10, 6, 12, 6)
        bar.addWidget(self.picker, 1)
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
        layout.addWidget(self.page, 1)
        self.setCentralWidget(whole)
        composer = self.page.composer
        order = (composer.edit, composer.send_button, composer.attach_button, self.picker.button, self.new_button)
        for before, after in pairwise(order):
            self.setTabOrder(before, after)

    def _build_menus(self) -> None:
        key = QKeySequence.StandardKey
        chat_menu = self.menuBar().addMenu("&Chat")
        self._add(chat_menu, "&New Chat", key.New, self._chat.clear)
        self._add(chat_menu, "&Attach Pictures or Clips…", key.Open, self.page.choose_files)
        chat_menu.addSeparator()
        self._add(chat_menu, "&Stop Answering", "Ctrl+.", self._chat.stop)
        self._add(chat_menu, "Answer &Again", "Ctrl+R", self._chat.regenerate)
        chat_menu.addSeparator()
        quit_action = self._add(chat_menu, "&Quit Fovea", key.Quit, self.close)
        quit_action.setMenuRole(QAction.MenuRole.QuitRole)
        edit_menu = self.menuBar().addMenu("&Edit")
        self._add(edit_menu, "Copy &Last Answer", "Ctrl+Shift+C", self._copy_last_answer)
        self._add(edit_menu, "&Paste", key.Paste, self.page.paste)
        help_menu = self.menuBar().addMenu("&Help")
        about = self._add(help_menu, "&About Fovea", "", lambda: QMessageBox.about(self, "About Fovea", ABOUT))
        about.setMenuRole(QAction.MenuRole.AboutRole)

    def _add(self, menu: QMenu, text: str, keys: QKeySequence.StandardKey | str, run: Callable[[], object]) -> QAction:
        action = QAction(text, self)
        action.setShortcut(QKeySequence(keys))
        action.triggered.connect(lambda _checked=False: run())
        menu.addAction(action)
        return action

    def _copy_last_answer(self) -> None:
        answers = [exchange.answer for exchange in self._chat.exchanges if exchange.answer]
        if answers:
            self.page.transcript.copy_requested.emit(answers[-1])
