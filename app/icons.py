"""The app's icons: SVG files drawn in one colour, tinted when they are loaded.

Knows no theme and no widget; whoever shows an icon says in which colour.
"""

import sys
from pathlib import Path

from PySide6.QtCore import QByteArray, QRectF, QSize, Qt
from PySide6.QtGui import QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

_SCALES = (1, 2, 3)


def icons_folder() -> Path:
    """`resources/icons` beside the package, or in the bundle's `Contents/Resources`."""
    if getattr(sys, "frozen", None):
        return Path(sys.executable).resolve().parent.parent / "Resources" / "resources" / "icons"
    return Path(__file__).resolve().parent.parent / "resources" / "icons"


def icon_path(name: str) -> Path:
    return icons_folder() / f"{name}.svg"


def load_icon(name: str, colour: str, size: int = 18) -> QIcon:
    """The icon `name`, its `currentColor` replaced by `colour` (`#rrggbb`), sharp on displays of any density.

    Raises FileNotFoundError.
    """
    svg = icon_path(name).read_text("utf-8").replace("currentColor", colour)
    renderer = QSvgRenderer(QByteArray(svg.encode()))
    icon = QIcon()
    for scale in _SCALES:
        pixmap = QPixmap(QSize(size, size) * scale)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        renderer.render(painter, QRectF(0, 0, size * scale, size * scale))
        painter.end()
        pixmap.setDevicePixelRatio(scale)
        icon.addPixmap(pixmap)
    return icon


def load_app_icon() -> QIcon:
    """The app's own icon, in its own colours."""
    return QIcon(str(icon_path("fovea")))
