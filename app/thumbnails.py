"""Small versions of pictures and clips, made beside the window's thread so that a large one never stops it.

Knows nothing of chips or transcripts. What cannot be read simply has no thumbnail; the engine may still read it (HEIC
on Linux, for one), and says what is wrong otherwise.
"""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QObject, QRunnable, QSize, Qt, QThreadPool, Signal
from PySide6.QtGui import QImage, QImageReader

from app.clip_poster import Poster, read_animation, read_poster
from app.state.attachment import FileFacts
from app.state.media_kinds import MediaKind
from engine.api.media_format import HEAD_BYTES, ClipFormat, clip_format, picture_format

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


@dataclass(frozen=True, slots=True)
class Preview:
    image: QImage
    """Null where there is none."""
    facts: FileFacts | None = None
    """`None` where the file is neither a picture nor a clip, or cannot be read."""


def read_preview(source: Path | bytes, edge: int) -> Preview:
    """What can be seen and known of a file, whatever its name says of it."""
    try:
        with source.open("rb") if isinstance(source, Path) else BytesIO(source) as file:
            head = file.read(HEAD_BYTES)
            # Whole only if it is a picture: anything else may be as large as a disk.
            data = head + file.read() if picture_format(head) is not None else None
    except OSError:
        return Preview(QImage())
    if data is not None:
        return _picture_preview(data, edge)
    if clip_format(head) is not None and isinstance(source, Path):
        return _clip_preview(read_poster(source, edge), None)
    return Preview(QImage())


class ThumbnailLoader(QObject):
    """Signals: `loaded(key, Preview)`, for everything that was to be loaded."""

    loaded = Signal(int, object)

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
        self._loader.loaded.emit(self._key, read_preview(self._source, self._edge))


def _picture_preview(data: bytes, edge: int) -> Preview:
    animation = read_animation(data, edge) if clip_format(data[:HEAD_BYTES]) is ClipFormat.GIF else None
    if animation is not None:
        return _clip_preview(animation, data)
    return Preview(read_thumbnail(data, edge), FileFacts(MediaKind.PICTURE, data=data))


def _clip_preview(poster: Poster, data: bytes | None) -> Preview:
    return Preview(poster.image, FileFacts(MediaKind.CLIP, poster.duration, data))
