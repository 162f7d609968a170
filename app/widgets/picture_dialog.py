"""Shows one picture as large as the screen comfortably allows; Esc or a click closes it.

Knows nothing of where the picture came from.
"""

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QImage, QMouseEvent, QPixmap
from PySide6.QtWidgets import QDialog, QLabel, QVBoxLayout, QWidget

_SHARE = 0.8
"""Of the screen."""


class PictureDialog(QDialog):
    def __init__(self, image: QImage, name: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(name)
        density = self.devicePixelRatioF()
        room: QSize = parent.screen().availableSize() * _SHARE
        size = image.size()
        if size.width() > room.width() or size.height() > room.height():
            size = size.scaled(room, Qt.AspectRatioMode.KeepAspectRatio)
        pixmap = QPixmap.fromImage(
            image.scaled(
                size * density, Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode.SmoothTransformation
            )
        )
        pixmap.setDevicePixelRatio(density)
        label = QLabel()
        label.setAccessibleName(name)
        label.setPixmap(pixmap)
        label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(label)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.close()
