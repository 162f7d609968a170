"""What a drag or the clipboard holds, as far as pictures and clips go.

Knows nothing of windows: both the drop area and the composer ask it.
"""

from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QBuffer, QIODevice, QMimeData
from PySide6.QtGui import QImage

from app.state.media_kinds import MediaKind, kind_of, refusal_sentence, these

_QUICK_PNG = 90
"""Qt's scale for PNG turns this into zlib's fastest level: a pasted screenshot must not stop the window."""


@dataclass(frozen=True, slots=True)
class MediaOffer:
    paths: tuple[Path, ...]
    """Local files of any kind."""
    has_image: bool
    """Pixels that belong to no file."""

    @property
    def kinds(self) -> tuple[MediaKind, ...]:
        """Of what can be taken."""
        if self.has_image and not self.paths:
            return (MediaKind.PICTURE,)
        return tuple(kind for path in self.paths if (kind := kind_of(path)) is not None)

    @property
    def is_welcome(self) -> bool:
        return bool(self.kinds)

    @property
    def sentence(self) -> str:
        """What a drop would do, or why it would do nothing."""
        return f"Drop to ask about {these(self.kinds)}" if self.is_welcome else refusal_sentence(self.paths)


def read_offer(mime: QMimeData) -> MediaOffer:
    """Looks at names and kinds alone: nothing is decoded while a drag hovers."""
    paths = tuple(Path(url.toLocalFile()) for url in mime.urls() if url.isLocalFile()) if mime.hasUrls() else ()
    return MediaOffer(paths, mime.hasImage())


def encode_png(image: QImage) -> bytes:
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG", _QUICK_PNG)
    return bytes(buffer.data().data())
