"""The app's composition root: builds everything once, starts it in the right order, and ends it.

Knows no details of what it joins. The window is up before the engine's thread begins its heavy imports.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from PySide6.QtCore import QObject, QSettings, QTimer
from PySide6.QtWidgets import QApplication

from app.bridge import Bridge
from app.engine_thread import EngineThread, LoopFactory, build_loop
from app.file_opener import FileOpener
from app.options import Options
from app.preferences import Preferences
from app.start_report import print_start_report
from app.state.attachments import AttachmentTray
from app.state.catalogue import Machine, read_catalogue
from app.state.chat import ChatState
from app.state.media_kinds import is_picture
from app.state.models import STARTER, ModelsState
from app.state.senses import senses_of
from app.stream_buffer import StreamBuffer
from app.theme import follow_system
from app.thumbnails import ThumbnailLoader
from app.widgets.model_picker import ModelPicker
from app.windows.chat_page import ChatPage
from app.windows.main_window import MainWindow
from engine.api.settings import EngineSettings
from engine.client import EngineClient
from engine.inbox import Inbox

log = logging.getLogger("fovea.app")

SHUT_DOWN_MS = 1500
"""What the engine gets to end what it is doing: quitting as a whole takes no longer than two seconds."""


class Application(QObject):
    """One window with its engine."""

    def __init__(
        self, options: Options, settings: EngineSettings, preferences: Preferences, factory: LoopFactory = build_loop
    ) -> None:
        super().__init__()
        self._options = options
        self._preferences = preferences
        resources = settings.resources or Path(__file__).resolve().parent.parent / "resources"
        inbox = Inbox()
        self._client = EngineClient(inbox)
        self._bridge = Bridge(self._client, self)
        self._thread = EngineThread(inbox, settings, factory, self)
        self.chat = ChatState(self._bridge, AttachmentTray(settings.media))
        self.models = ModelsState(self._bridge, read_catalogue(resources / "catalogue.json"), this_machine())
        self._buffer = StreamBuffer(self.chat.take, QTimer(self))
        self.page = ChatPage(self.chat, self.models, first_sample(resources / "samples"))
        self.window = MainWindow(self.chat, self.page, ModelPicker(self.models))
        self.window.restoreGeometry(preferences.geometry)
        self._connect()

    def start(self) -> None:
        self.page.attach_files(self._options.pictures)
        self.models.load(self._options.model or self._preferences.last_model or STARTER)
        self.models.refresh()
        self.window.painted.connect(self._on_painted)
        self.window.show()

    def shut_down(self) -> bool:
        """Stop what runs and let the model go. Returns whether the engine ended in time."""
        self._client.close()
        for loader in self.window.findChildren(ThumbnailLoader):
            loader.close()
        return self._thread.wait(SHUT_DOWN_MS)

    def report_bug(self, error: BaseException) -> None:
        """Something unexpected in a slot: the log has the traceback, a person gets a sentence."""
        self.page.banner.show_error(
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
        self.window.closing.connect(self._on_closing)

    def _on_painted(self) -> None:
        if self._options.report_start:
            print_start_report()
            QTimer.singleShot(0, self.window.close)
        # Once the window's first frame is on the screen: imports hold the interpreter's lock.
        QTimer.singleShot(0, self._thread.start)

    def _on_model_loaded(self, source: str) -> None:
        self._preferences.last_model = source

    def _on_closing(self) -> None:
        self._preferences.geometry = self.window.saveGeometry()


def run(options: Options, settings: EngineSettings) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    # In a terminal, Ctrl+C ends the app although no Python code may be running.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    qt = build_qt()
    application = Application(options, settings, Preferences(QSettings()))
    opener = FileOpener()
    opener.opened.connect(application.page.attach_files)
    qt.installEventFilter(opener)
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
