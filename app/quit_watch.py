"""Says that the system wants the app to end, as from the Dock or at logging out, before any window is asked.

Knows nothing of what keeps the app running.
"""

from PySide6.QtCore import QEvent, QObject, Signal


class QuitWatch(QObject):
    """Install it as the application's event filter. Signals: `quitting()`."""

    quitting = Signal()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Quit:
            self.quitting.emit()
        return super().eventFilter(watched, event)
