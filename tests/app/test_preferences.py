"""What is remembered from one start to the next, whatever has become of the file."""

import pytest
from PySide6.QtCore import QSettings

from app.preferences import Preferences
from app.state.menu_bar import MenuBarChoices
from app.state.server_port import Reach, ServerOptions

OPTIONS = ServerOptions(9000, Reach.NETWORK, ("http://localhost:3000", "http://a.test"), False, True)
CHOICES = MenuBarChoices(is_shown=False, keeps_running=False, was_told=True)


@pytest.fixture
def reopen(tmp_path):
    return lambda: Preferences(QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat))


def test_at_first_the_local_api_is_off_and_closed(reopen):
    assert not reopen().serves
    assert reopen().server_options == ServerOptions()
    assert reopen().menu_bar == MenuBarChoices()


def test_choices_are_read_as_they_were_written(reopen):
    first = reopen()
    first.serves, first.server_options, first.menu_bar = True, OPTIONS, CHOICES
    assert reopen().serves
    assert reopen().server_options == OPTIONS
    assert reopen().menu_bar == CHOICES


@pytest.mark.parametrize("port", ["", "x", "-1", "0", "70000", "8080.5"])
def test_what_cannot_be_read_is_as_safe_as_at_first(tmp_path, reopen, port):
    store = QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat)
    store.setValue("local-api/port", port)
    store.setValue("local-api/reach", "everywhere")
    store.setValue("local-api/on", "perhaps")
    store.setValue("local-api/logs-bodies", "2")
    store.sync()
    assert not reopen().serves
    assert reopen().server_options == ServerOptions()
