"""Small versions of pictures, made beside the window's thread so that a large photo never stops it.

Knows nothing of chips or transcripts. A picture that Qt cannot read simply has no thumbnail; the engine may still
read it (HEIC on Linux, for one).
"""

from pathlib import Path

from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QObject, QRunnable, QSize, Qt, QThreadPool, Signal
from PySide6.QtGui import QImage, QImageReader

MAX_PIXELS = 40_000_000
"""Beyond this a picture gets no thumbnail: most formats would have to be decoded whole."""


def read_thumbnail(source: Path | bytes, edge: int) -> QImage:
    """The picture, upright, no side longer than `edge`; a null image if Qt cannot read it or it is too large."""
    if isinstance(source, Path):
        reader = QImageReader(str(source))
    else:
        buffer = QBuffer()
        buffer.setData(QByteArray(source))
        buffer.open(QIODevice.OpenModeFlag.ReadOnly)
        reader = QImageReader(buffer)
    reader.setDecideFormatFromContent(True)
    reader.setAutoTransform(True)
    size = reader.size()
    if not size.isValid() or size.width() * size.height() > MAX_PIXELS:
        return QImage()
    if size.width() > edge or size.height() > edge:
        reader.setScaledSize(size.scaled(QSize(edge, edge), Qt.AspectRatioMode.KeepAspectRatio).expandedTo(QSize(1, 1)))
    return reader.read()


class ThumbnailLoader(QObject):
    """Signals: `loaded(key, image)`, for pictures that could be read."""

    loaded = Signal(int, QImage)

    def __init__(self, edge: int, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._edge = edge
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(1)

    def load(self, key: int, source: Path | bytes) -> None:
        self._pool.start(_Reading(self, key, source, self._edge))

    def close(self) -> None:
        """Before the loader goes: what is still waiting is dropped, what is being read is waited for."""
        self._pool.clear()
        self._pool.waitForDone()


class _Reading(QRunnable):
    def __init__(self, loader: ThumbnailLoader, key: int, source: Path | bytes, edge: int) -> None:
        super().__init__()
        self._loader = loader
        self._key = key
        self._source = source
        self._edge = edge

    def run(self) -> None:
        image = read_thumbnail(self._source, self._edge)
        if not image.isNull():
            self._loader.loaded.emit(self._key, image)
