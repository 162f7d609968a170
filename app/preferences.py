"""What the app remembers from one start to the next: the model used last, and where the window was.

Knows nothing of why they are wanted.
"""

from PySide6.QtCore import QByteArray, QSettings

_MODEL = "model/last"
_GEOMETRY = "window/geometry"


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

    def _write(self, key: str, value: object) -> None:
        """At once: the process may have to leave without ceremony."""
        self._store.setValue(key, value)
        self._store.sync()
