"""The pictures in a conversation: read small beside the window's thread, opened large when asked for.

Knows nothing of the turns' looks.
"""

from itertools import count
from pathlib import Path

from PySide6.QtCore import QObject
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QWidget

from app.thumbnails import ThumbnailLoader, read_thumbnail
from app.widgets.picture_dialog import PictureDialog
from app.widgets.user_turn import UserTurn

Picture = QImage | Path
_SMALL = 440
_LARGE = 2400


class TranscriptPictures(QObject):
    def __init__(self, view: QWidget) -> None:
        super().__init__(view)
        self._view = view
        self._keys = count()
        self._waiting: dict[int, tuple[UserTurn, int]] = {}
        self._loader = ThumbnailLoader(_SMALL, self)
        self._loader.loaded.connect(self._on_loaded)

    def show(self, picture: Picture, turn: UserTurn, index: int) -> None:
        if isinstance(picture, QImage):
            turn.show_picture(index, picture)
            return
        key = next(self._keys)
        self._waiting[key] = (turn, index)
        self._loader.load(key, picture)

    def open(self, picture: Picture, index: int) -> None:
        image = picture if isinstance(picture, QImage) else read_thumbnail(picture, _LARGE)
        if not image.isNull():
            PictureDialog(image, f"Picture {index + 1}", self._view).open()

    def forget(self) -> None:
        """The turns are going; what is still being read is not wanted any more."""
        self._waiting.clear()

    def _on_loaded(self, key: int, image: QImage) -> None:
        waiting = self._waiting.pop(key, None)
        if waiting is not None:
            turn, index = waiting
            turn.show_picture(index, image)
