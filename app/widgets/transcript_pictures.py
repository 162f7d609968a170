"""The pictures and clips in a conversation: read small beside the window's thread, opened large when asked for.

Knows nothing of the turns' looks, or of what plays a clip.
"""

from itertools import count
from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

from app.state.attachment import Attachment
from app.thumbnails import Preview, ThumbnailLoader, read_thumbnail
from app.widgets.picture_dialog import PictureDialog
from app.widgets.user_turn import UserTurn

_SMALL = 440
_LARGE = 2400


class TranscriptPictures(QObject):
    """Signals: `play_requested(Path)`."""

    play_requested = Signal(object)

    def __init__(self, view: QWidget) -> None:
        super().__init__(view)
        self._view = view
        self._keys = count()
        self._waiting: dict[int, tuple[UserTurn, int]] = {}
        self._loader = ThumbnailLoader(_SMALL, self)
        self._loader.loaded.connect(self._on_loaded)

    def show(self, attachment: Attachment, turn: UserTurn, index: int) -> None:
        key = next(self._keys)
        self._waiting[key] = (turn, index)
        self._loader.load(key, attachment.content)

    def open(self, attachment: Attachment, turn: UserTurn, index: int) -> None:
        if turn.thumbnails[index].is_clip and isinstance(attachment.source, Path):
            self.play_requested.emit(attachment.source)
            return
        image = read_thumbnail(attachment.content, _LARGE)
        if not image.isNull():
            PictureDialog(image, attachment.name, self._view).open()

    def forget(self) -> None:
        """The turns are going; what is still being read is not wanted any more."""
        self._waiting.clear()

    def _on_loaded(self, key: int, preview: Preview) -> None:
        waiting = self._waiting.pop(key, None)
        if waiting is not None:
            turn, index = waiting
            turn.show_preview(index, preview)
