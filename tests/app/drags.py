"""Real drag and drop events, as Qt would send them."""

from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDragMoveEvent, QDropEvent
from PySide6.QtWidgets import QApplication

COPY = Qt.DropAction.CopyAction
LEFT = Qt.MouseButton.LeftButton
NO_KEY = Qt.KeyboardModifier.NoModifier


def holding(*names, image=None):
    """Paths or addresses, or pixels."""
    mime = QMimeData()
    if names:
        mime.setUrls([QUrl(str(name)) if "://" in str(name) else QUrl.fromLocalFile(str(name)) for name in names])
    if image is not None:
        mime.setImageData(image)
    return mime


def drag_in(area, mime):
    event = QDragEnterEvent(QPoint(50, 50), COPY, mime, LEFT, NO_KEY)
    QApplication.sendEvent(area, event)
    return event


def drop(area, mime):
    drag_in(area, mime)
    QApplication.sendEvent(area, QDragMoveEvent(QPoint(60, 60), COPY, mime, LEFT, NO_KEY))
    event = QDropEvent(QPointF(60, 60), COPY, mime, LEFT, NO_KEY)
    QApplication.sendEvent(area, event)
    return event
