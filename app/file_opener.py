"""Pictures and clips opened with Fovea from the Finder, or dropped on its icon.

Knows nothing of what becomes of them. Only macOS sends these events.
"""

from pathlib import Path

from PySide6.QtCore import QEvent, QObject, Signal
from PySide6.QtGui import QFileOpenEvent


class FileOpener(QObject):
    """An event filter of the application's. Signals: `opened(list[Path])`."""

    opened = Signal(list)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.FileOpen and isinstance(event, QFileOpenEvent) and event.file():
            self.opened.emit([Path(event.file())])
            return True
        return super().eventFilter(watched, event)
