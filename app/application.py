"""The app's composition root: builds everything once, starts it in the right order, and ends it.

Knows no details of what it joins. The window is up before the engine's thread begins its heavy imports.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from PySide6.QtCore import QDeadlineTimer, QObject, QSettings, Qt, QTimer, Signal
from PySide6.QtWidgets import QApplication, QSystemTrayIcon, QWidget

from app.bridge import Bridge
from app.engine_thread import EngineThread, LoopFactory, build_loop
from app.file_opener import FileOpener
from app.options import Options
from app.preferences import Preferences
from app.quit_watch import QuitWatch
from app.server_switch import EngineServing, ServerSwitch, Serving
from app.start_report import print_start_report
from app.state.attachments import AttachmentTray
from app.state.catalogue import Machine, read_catalogue
from app.state.chat import ChatState
from app.state.media_kinds import is_picture
from app.state.menu_bar import PLACE, MenuBarState
from app.state.models import STARTER, ModelsState
from app.state.senses import senses_of
from app.state.server import ServerState
from app.stream_buffer import StreamBuffer
from app.theme import follow_system
from app.thumbnails import ThumbnailLoader
from app.tray import Tray
from app.widgets.model_picker import ModelPicker
from app.windows.chat_page import ChatPage
from app.windows.main_window import MainWindow
from engine.api.settings import EngineSettings
from engine.client import EngineClient
from engine.inbox import Inbox

log = logging.getLogger("fovea.app")

SHUT_DOWN_MS = 1500
"""What the engine gets to end what it is doing: quitting as a whole takes no longer than two seconds."""

LEAST_S = 0.2
"""Of it, for the local API: its answers have ended with the engine."""


class Application(QObject):
    """One window with its engine and its local API. Signals: `ended()`, once the window is closed for good."""

    ended = Signal()

    def __init__(
        self,
        options: Options,
        settings: EngineSettings,
        preferences: Preferences,
        factory: LoopFactory = build_loop,
        serving: Serving | None = None,
    ) -> None:
        super().__init__()
        self._options = options
        self._preferences = preferences
        self._has_resumed = False
        resources = settings.resources or Path(__file__).resolve().parent.parent / "resources"
        inbox = Inbox()
        self._client = EngineClient(inbox)
        self._bridge = Bridge(self._client, self)
        self._thread = EngineThread(inbox, settings, factory, self)
        self.chat = ChatState(self._bridge, AttachmentTray(settings.media))
        self.models = ModelsState(self._bridge, read_catalogue(resources / "catalogue.json"), this_machine())
        self._buffer = StreamBuffer(self.chat.take, QTimer(self))
        self.page = ChatPage(self.chat, self.models, first_sample(resources / "samples"))
        self._switch = ServerSwitch(self._client, serving or EngineServing(), self)
        self.server = ServerState(
            self._switch, preferences.server_options, time.monotonic, is_wanted=preferences.serves
        )
        self.menu_bar = MenuBarState(preferences.menu_bar)
        self.tray: Tray | None = None
        self.window = MainWindow(
            self.chat,
            self.page,
            ModelPicker(self.models),
            self.server,
            self._make_server_page,
            stays=lambda: self.menu_bar.keeps_running(is_serving=self.server.is_on),
        )
        self.window.restoreGeometry(preferences.geometry)
        self._connect()

    def start(self) -> None:
        self.page.attach_files(self._options.pictures)
        self.models.load(self._options.model or self._preferences.last_model or STARTER)
        self.models.refresh()
        self.models.watch()
        self.window.painted.connect(self._on_painted)
        self.window.show()

    def shut_down(self) -> bool:
        """Stop what runs and let the model go. Returns whether the engine and the local API ended in time."""
        deadline = QDeadlineTimer(SHUT_DOWN_MS)
        self._client.close()
        if self.tray is not None:
            self.tray.close()
        for loader in self.window.findChildren(ThumbnailLoader):
            loader.close()
        has_ended = self._thread.wait(deadline)
        return self._switch.shut_down(max(LEAST_S, deadline.remainingTime() / 1000)) and has_ended

    def open_files(self, paths: Sequence[Path]) -> None:
        """Attach them, where that can be seen."""
        self.window.bring_up()
        self.window.show_page(self.page)
        self.page.attach_files(paths)

    def on_state_changed(self, state: Qt.ApplicationState) -> None:
        """A click in the Dock brings back a window that was put away."""
        if state is Qt.ApplicationState.ApplicationActive and self.window.isHidden():
            self.window.bring_up()

    def report_bug(self, error: BaseException) -> None:
        """Something unexpected in a slot: the log has the traceback, a person gets a sentence."""
        self.window.pages.currentWidget().banner.show_error(
            "Something went wrong inside Fovea.",
            f"You can go on; if it happens again, start Fovea anew. ({type(error).__name__})",
        )

    def _connect(self) -> None:
        bridge, buffer = self._bridge, self._buffer
        for arrived in (bridge.text_arrived, bridge.thinking_arrived):
            arrived.connect(buffer.add)
        for ended in (bridge.finished, bridge.failed):
            ended.connect(lambda _event: buffer.flush())
        for told in (bridge.progressed, bridge.finished, bridge.failed):
            told.connect(self.chat.take)
            told.connect(self.models.take)
        bridge.status_changed.connect(self.models.take)
        self.models.changed.connect(lambda models: self.chat.tray.set_senses(senses_of(models)))
        self.models.loaded_source.connect(self._on_model_loaded)
        bridge.accepted.connect(self._on_accepted)
        self._switch.happened.connect(self.server.take)
        self.server.chosen.connect(self._on_server_chosen)
        self.menu_bar.changed.connect(self._on_menu_bar_changed)
        self.window.closing.connect(self._on_closing)
        self.window.put_away.connect(self._on_put_away)

    def _make_server_page(self) -> QWidget:
        from app.windows.server_page import ServerPage  # like its building, not before somebody wants to see it

        return ServerPage(self.server, self.models, self.menu_bar)

    def _on_painted(self) -> None:
        if self._options.report_start:
            print_start_report()
            QTimer.singleShot(0, self.window.close)
        # Once the window's first frame is on the screen: imports hold the interpreter's lock.
        QTimer.singleShot(0, self._thread.start)
        QTimer.singleShot(0, self._add_tray)

    def _add_tray(self) -> None:
        if not QSystemTrayIcon.isSystemTrayAvailable():
            return
        self.tray = Tray(self.server, self.models, self.menu_bar, self)
        self.tray.open_requested.connect(self.window.bring_up)
        self.tray.page_requested.connect(self._on_page_requested)
        self.tray.quit_requested.connect(self.window.leave)
        self.menu_bar.make_available()

    def _on_accepted(self) -> None:
        """The engine is there and has begun with the model: now there is something to be served."""
        if not self._has_resumed:
            self._has_resumed = True
            self.server.resume()

    def _on_server_chosen(self, server: ServerState) -> None:
        self._preferences.serves = server.is_wanted
        self._preferences.server_options = server.options

    def _on_menu_bar_changed(self, menu_bar: MenuBarState) -> None:
        self._preferences.menu_bar = menu_bar.choices

    def _on_page_requested(self) -> None:
        self.window.bring_up()
        self.window.show_page(self.window.server_page)

    def _on_model_loaded(self, source: str) -> None:
        self._preferences.last_model = source

    def _on_closing(self) -> None:
        self._preferences.geometry = self.window.saveGeometry()
        self.ended.emit()

    def _on_put_away(self) -> None:
        self._preferences.geometry = self.window.saveGeometry()
        if self.tray is not None:
            self.tray.tell_once(PLACE)


def run(options: Options, settings: EngineSettings) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    # In a terminal, Ctrl+C ends the app although no Python code may be running.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    qt = build_qt()
    application = Application(options, settings, Preferences(QSettings()))
    opener = FileOpener()
    opener.opened.connect(application.open_files)
    watch = QuitWatch()
    watch.quitting.connect(application.window.prepare_to_leave)
    for event_filter in (opener, watch):
        qt.installEventFilter(event_filter)
    # The window may be closed and the app go on, in the menu bar.
    qt.setQuitOnLastWindowClosed(False)
    application.ended.connect(qt.quit)
    qt.applicationStateChanged.connect(application.on_state_changed)
    sys.excepthook = slot_excepthook(application.report_bug)
    application.start()
    status = qt.exec()
    if not application.shut_down():
        # A thread deep in a library cannot be ended; the process can, and nothing half-written is left behind.
        leave_at_once(status)
    return status


def build_qt() -> QApplication:
    qt = QApplication([sys.argv[0]])
    qt.setApplicationName("Fovea")
    qt.setOrganizationName("Fovea")
    qt.setDesktopFileName("fovea")
    follow_system(qt)
    return qt


def slot_excepthook(
    report: Callable[[BaseException], None],
) -> Callable[[type[BaseException], BaseException, TracebackType | None], None]:
    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        log.error("Unexpected error in a slot", exc_info=(kind, error, traceback))
        report(error)

    return hook


def leave_at_once(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def this_machine() -> Machine:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(memory, on_cpu=sys.platform != "darwin")


def first_sample(folder: Path) -> Path | None:
    if not folder.is_dir():
        return None
    return next((path for path in sorted(folder.iterdir()) if is_picture(path)), None)
