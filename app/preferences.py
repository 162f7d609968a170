"""What the app remembers from one start to the next: the model used last, where the window was, and what was chosen
for the local API and the menu bar.

Knows nothing of why they are wanted.
"""

from PySide6.QtCore import QByteArray, QSettings

from app.state.menu_bar import MenuBarChoices
from app.state.server_port import USUAL_PORT, Reach, ServerOptions

_MODEL = "model/last"
_GEOMETRY = "window/geometry"
_SERVER = "local-api"
_MENU_BAR = "menu-bar"


class Preferences:
    def __init__(self, store: QSettings) -> None:
        self._store = store

    @property
    def last_model(self) -> str:
        """Empty before the first."""
        return str(self._store.value(_MODEL, ""))

    @last_model.setter
    def last_model(self, source: str) -> None:
        self._write(_MODEL, source)

    @property
    def geometry(self) -> QByteArray:
        found = self._store.value(_GEOMETRY)
        return found if isinstance(found, QByteArray) else QByteArray()

    @geometry.setter
    def geometry(self, geometry: QByteArray) -> None:
        self._write(_GEOMETRY, geometry)

    @property
    def serves(self) -> bool:
        """Whether the local API was left on."""
        return self._flag(f"{_SERVER}/on", False)

    @serves.setter
    def serves(self, on: bool) -> None:
        self._write(f"{_SERVER}/on", on)

    @property
    def server_options(self) -> ServerOptions:
        """What cannot be read is as safe as it is at first."""
        port = str(self._store.value(f"{_SERVER}/port", USUAL_PORT))
        reach = str(self._store.value(f"{_SERVER}/reach", ""))
        origins = str(self._store.value(f"{_SERVER}/origins", ""))
        return ServerOptions(
            port=int(port) if port.isdecimal() and 0 < int(port) < 1 << 16 else USUAL_PORT,
            reach=Reach.NETWORK if reach == Reach.NETWORK.value else Reach.THIS_COMPUTER,
            origins=tuple(origins.split()),
            switches_models=self._flag(f"{_SERVER}/switches-models", True),
            logs_bodies=self._flag(f"{_SERVER}/logs-bodies", False),
        )

    @server_options.setter
    def server_options(self, options: ServerOptions) -> None:
        self._write(f"{_SERVER}/port", options.port)
        self._write(f"{_SERVER}/reach", options.reach.value)
        self._write(f"{_SERVER}/origins", " ".join(options.origins))
        self._write(f"{_SERVER}/switches-models", options.switches_models)
        self._write(f"{_SERVER}/logs-bodies", options.logs_bodies)

    @property
    def menu_bar(self) -> MenuBarChoices:
        return MenuBarChoices(
            is_shown=self._flag(f"{_MENU_BAR}/shown", True),
            keeps_running=self._flag(f"{_MENU_BAR}/keeps-running", True),
            was_told=self._flag(f"{_MENU_BAR}/was-told", False),
        )

    @menu_bar.setter
    def menu_bar(self, choices: MenuBarChoices) -> None:
        self._write(f"{_MENU_BAR}/shown", choices.is_shown)
        self._write(f"{_MENU_BAR}/keeps-running", choices.keeps_running)
        self._write(f"{_MENU_BAR}/was-told", choices.was_told)

    def _flag(self, key: str, usual: bool) -> bool:
        """Whatever the system's store makes of a truth: some keep words."""
        return str(self._store.value(key, usual)).lower() in ("true", "1")

    def _write(self, key: str, value: object) -> None:
        """At once: the process may have to leave without ceremony."""
        self._store.setValue(key, value)
        self._store.sync()
