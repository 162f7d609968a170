"""Tests of the app run without a display."""

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import pytest
from PySide6.QtCore import QSettings

from app.application import Application
from app.options import Options
from app.preferences import Preferences
from engine.api.settings import EngineSettings
from tests.app.fake_loop import FakeLoop
from tests.app.fake_serving import FakeServing
from tests.app.paths import RESOURCES
from tests.app.pictures import draw_image


@pytest.fixture
def picture(tmp_path, qapp):
    """A small red PNG."""
    path = tmp_path / "red.png"
    draw_image("red").save(str(path))
    return path


@pytest.fixture
def preferences(tmp_path):
    return Preferences(QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat))


@pytest.fixture
def open_app(qtbot, preferences):
    """Opens the app over an engine that answers from scripts; `app.fake` is that engine, once the window is painted,
    and `app.serving` what its local API is made of: no port is opened, and no keychain."""
    opened = []

    def build(scripts=None, *, pictures=(), model=None):
        fakes = []

        def factory(inbox, settings):
            fakes.append(FakeLoop(inbox, scripts))
            return fakes[0]

        settings = EngineSettings(resources=RESOURCES)
        serving = FakeServing()
        options = Options(pictures=tuple(pictures), model=model)
        application = Application(options, settings, preferences, factory, serving)
        application.serving = serving
        opened.append(application)
        qtbot.addWidget(application.window)
        application.start()
        # Shortcuts belong to the active window, and other tests have had windows of their own.
        application.window.activateWindow()
        qtbot.waitUntil(application.window.isActiveWindow)
        qtbot.waitUntil(lambda: bool(fakes))
        application.fake = fakes[0]
        return application

    yield build
    for application in opened:
        application.window.close()
        assert application.shut_down(), "the engine's thread did not end in time"
