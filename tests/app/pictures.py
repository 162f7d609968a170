"""Pictures drawn for a test."""

from PySide6.QtGui import QColor, QImage


def draw_image(colour):
    image = QImage(32, 24, QImage.Format.Format_RGB32)
    image.fill(QColor(colour))
    return image
