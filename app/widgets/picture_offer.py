"""What a drag or the clipboard holds, as far as pictures go.

Knows nothing of windows: both the drop area and the composer ask it.
"""

from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QBuffer, QIODevice, QMimeData
from PySide6.QtGui import QImage

from app.state.attachments import is_picture, refusal_sentence

_QUICK_PNG = 90
"""Qt's scale for PNG turns this into zlib's fastest level: a pasted screenshot must not stop the window."""


@dataclass(frozen=True, slots=True)
class PictureOffer:
    paths: tuple[Path, ...]
    """Local files of any kind."""
    has_image: bool
    """Pixels that belong to no file."""

    @property
    def is_welcome(self) -> bool:
        return any(is_picture(path) for path in self.paths) or (self.has_image and not self.paths)

    @property
    def refusal(self) -> str:
        return "" if self.is_welcome else refusal_sentence(self.paths)


def read_offer(mime: QMimeData) -> PictureOffer:
    """Looks at names and kinds alone: nothing is decoded while a drag hovers."""
    paths = tuple(Path(url.toLocalFile()) for url in mime.urls() if url.isLocalFile()) if mime.hasUrls() else ()
    return PictureOffer(paths, mime.hasImage())


def encode_png(image: QImage) -> bytes:
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG", _QUICK_PNG)
    return bytes(buffer.data().data())
