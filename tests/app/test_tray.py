"""Fovea in the menu bar: what its item says and does, and the window that can be closed while it serves."""

import pytest
from PySide6.QtCore import QCoreApplication, QEvent, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QSystemTrayIcon

from app.quit_watch import QuitWatch
from app.state.server import Switch
from engine.api.request import LoadModel, UnloadModel

# Said by Qt on Linux wherever there is no X server; the item itself works.
pytestmark = pytest.mark.qt_log_ignore("No such signal QPlatformNativeInterface::systemTrayWindowChanged", extend=True)


@pytest.fixture
def messages(monkeypatch):
    """What is told beside the menu bar."""
    told = []
    monkeypatch.setattr(QSystemTrayIcon, "showMessage", lambda self, title, *rest: told.append(title))
    return told


@pytest.fixture
def has_menu_bar(monkeypatch, messages):
    monkeypatch.setattr(QSystemTrayIcon, "isSystemTrayAvailable", staticmethod(lambda: True))


@pytest.fixture
def app(open_app, qtbot, has_menu_bar):
    opened = open_app()
    qtbot.waitUntil(lambda: opened.tray is not None)
    qtbot.waitUntil(lambda: opened.models.loaded is not None and opened.models.activity is None)
    return opened


def entry(app, text):
    return next(action for action in app.tray.menu.actions() if text in action.text())


def turn_on(app, qtbot):
    app.tray.switch.trigger()
    qtbot.waitUntil(lambda: app.server.is_on)


def test_its_menu_says_how_it_is(app, qtbot):
    tray = app.tray
    assert tray.item.isVisible()
    assert tray.item.icon().isMask()
    assert (tray.state_line.text(), tray.state_line.isEnabled()) == ("Local API is off", False)
    assert tray.model_line.text() == "Starter model: Ready · 540\u00a0MB in memory"
    turn_on(app, qtbot)
    assert tray.switch.isChecked()
    assert tray.state_line.text() == "On at 127.0.0.1:8080"
    assert "127.0.0.1:8080" in tray.item.toolTip()
    tray.switch.trigger()
    qtbot.waitUntil(lambda: app.server.switch is Switch.OFF)
    assert not tray.switch.isChecked()


def test_the_icon_shows_whether_it_is_on(app, qtbot):
    off = app.tray.item.icon().pixmap(20, 20).toImage()
    turn_on(app, qtbot)
    assert app.tray.item.icon().pixmap(20, 20).toImage() != off


def test_the_model_can_be_let_go(app, qtbot):
    app.tray.unload.trigger()
    qtbot.waitUntil(lambda: UnloadModel() in app.fake.requests)


def test_without_a_model_there_is_nothing_to_let_go(open_app, qtbot, has_menu_bar):
    def never(request_id, request):
        while True:
            yield None

    opened = open_app({LoadModel: never})
    qtbot.waitUntil(lambda: opened.tray is not None)
    assert not opened.tray.unload.isEnabled()


def test_closing_the_window_puts_it_away_while_it_serves_and_says_so_once(app, qtbot, messages, preferences):
    turn_on(app, qtbot)
    app.window.close()
    assert app.window.isHidden()
    assert app.server.is_on
    assert len(messages) == 1
    entry(app, "Open Fovea").trigger()
    assert app.window.isVisible()
    app.window.close()
    assert len(messages) == 1
    assert preferences.menu_bar.was_told
    assert app.serving.running


def test_closing_the_window_ends_it_while_it_does_not_serve(app, qtbot, messages):
    with qtbot.waitSignal(app.ended):
        app.window.close()
    assert messages == []


def test_closing_ends_it_where_that_is_chosen(app, qtbot):
    turn_on(app, qtbot)
    app.window.server_page.menu_bar.keeps.click()
    with qtbot.waitSignal(app.ended):
        app.window.close()


def test_quitting_from_the_menu_ends_it_while_it_serves(app, qtbot):
    turn_on(app, qtbot)
    app.window.close()
    with qtbot.waitSignal(app.ended):
        entry(app, "Quit").trigger()


def test_quitting_from_the_windows_menu_ends_it_while_it_serves(app, qtbot):
    turn_on(app, qtbot)
    leaving = next(each for each in app.window.findChildren(QAction) if each.menuRole() is QAction.MenuRole.QuitRole)
    with qtbot.waitSignal(app.ended):
        leaving.trigger()


def test_when_the_system_wants_it_to_end_it_ends(app, qtbot):
    turn_on(app, qtbot)
    watch = QuitWatch()
    watch.quitting.connect(app.window.prepare_to_leave)
    watch.eventFilter(QCoreApplication.instance(), QEvent(QEvent.Type.Quit))
    with qtbot.waitSignal(app.ended):
        app.window.close()


def test_a_click_in_the_dock_brings_the_window_back(app, qtbot):
    turn_on(app, qtbot)
    app.window.close()
    app.on_state_changed(Qt.ApplicationState.ApplicationInactive)
    assert app.window.isHidden()
    app.on_state_changed(Qt.ApplicationState.ApplicationActive)
    assert app.window.isVisible()


def test_the_item_can_be_hidden_and_the_window_is_then_the_way_back(app, qtbot, preferences):
    turn_on(app, qtbot)
    app.window.close()
    entry(app, "Hide").trigger()
    assert not app.tray.item.isVisible()
    assert app.window.isVisible()
    assert not preferences.menu_bar.is_shown
    panel = app.window.server_page.menu_bar
    assert not panel.keeps.isEnabled()
    panel.shown.click()
    assert app.tray.item.isVisible()
    assert preferences.menu_bar.is_shown


def test_a_hidden_item_stays_hidden_and_closing_ends_the_app(open_app, qtbot, has_menu_bar, preferences):
    from app.state.menu_bar import MenuBarChoices

    preferences.menu_bar = MenuBarChoices(is_shown=False)
    opened = open_app()
    qtbot.waitUntil(lambda: opened.tray is not None)
    assert not opened.tray.item.isVisible()
    opened.server.turn(True)
    qtbot.waitUntil(lambda: opened.server.is_on)
    with qtbot.waitSignal(opened.ended):
        opened.window.close()


def test_its_page_is_opened_from_the_menu(app):
    app.window.hide()
    entry(app, "Settings…").trigger()
    assert app.window.isVisible()
    assert app.window.shows_server


def test_where_there_is_no_menu_bar_everything_else_works(open_app, qtbot, monkeypatch):
    monkeypatch.setattr(QSystemTrayIcon, "isSystemTrayAvailable", staticmethod(lambda: False))
    opened = open_app()
    opened.server.turn(True)
    qtbot.waitUntil(lambda: opened.server.is_on)
    opened.window.show_page(opened.window.server_page)
    assert opened.tray is None
    assert not opened.window.server_page.menu_bar.isVisible()
    with qtbot.waitSignal(opened.ended):
        opened.window.close()
