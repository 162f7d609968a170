"""One attachment above the question: what it looks like, its name, how it will be sent, and a way to be rid of it.

Knows nothing of the file's content; a preview comes to it when it is ready.
"""

from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics, QImage, QKeyEvent, QPainter, QPainterPath, QPixmap
from PySide6.QtWidgets import QApplication, QFrame, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from app.icons import load_icon
from app.state.attachment import Attachment
from app.state.attachment_words import caption, spoken_name
from app.state.media_kinds import MediaKind
from app.state.senses import Senses, Treatment, treatment
from app.theme import Theme
from app.widgets.frames_button import FramesButton
from app.widgets.icon_button import IconButton
from app.widgets.play_mark import paint_play_mark

THUMBNAIL = 40
NAME_WIDTH = 140
_MARK_RADIUS = 9


class AttachmentChip(QFrame):
    """Signals: `removed(key)`, `frames_chosen(key, frames)`."""

    removed = Signal(int)
    frames_chosen = Signal(int, int)

    def __init__(self, attachment: Attachment, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.key = attachment.key
        self._kind: MediaKind | None = None
        self._image = QImage()
        self.setProperty("role", "chip")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setToolTip(str(attachment.source) if not isinstance(attachment.source, bytes) else attachment.name)
        self.picture = QLabel()
        self.picture.setFixedSize(THUMBNAIL, THUMBNAIL)
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.name = QLabel()
        self.name.setText(_elided(self.name.fontMetrics(), attachment.name))
        self.caption = QLabel()
        self.caption.setProperty("role", "caption")
        self.frames_button = FramesButton()
        self.frames_button.chosen.connect(lambda frames: self.frames_chosen.emit(self.key, frames))
        self.remove_button = IconButton("close", f"Remove {attachment.name}", "Remove (Delete)")
        self.remove_button.setIconSize(QSize(14, 14))
        self.remove_button.clicked.connect(self._on_remove)
        self._lay_out()

    def show_attachment(self, attachment: Attachment, senses: Senses | None) -> None:
        """As it will be sent to a model that can be shown this."""
        how = treatment(attachment.kind, senses)
        self.setAccessibleName(spoken_name(attachment, senses))
        words = caption(attachment, senses)
        self.caption.setText(words)
        self.caption.setVisible(bool(words))
        self.caption.setProperty("tone", "error" if how is Treatment.REFUSED else "")
        self.caption.style().unpolish(self.caption)
        self.caption.style().polish(self.caption)
        self.frames_button.setVisible(how is Treatment.AS_PICTURES)
        if how is Treatment.AS_PICTURES and senses is not None:
            self.frames_button.show_choice(senses.frames_for(attachment.frames), senses.frame_choices)
        if attachment.kind is not self._kind:
            self._kind = attachment.kind
            self._draw()

    def show_image(self, image: QImage) -> None:
        self._image = image
        self._draw()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self._on_remove()
        else:
            super().keyPressEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and self._kind is not None:
            self._draw()

    def _lay_out(self) -> None:
        line = QHBoxLayout()
        line.setSpacing(4)
        # As high as with the button, so that names stand on one line across the chips.
        self.frames_button.ensurePolished()
        line.addStrut(self.frames_button.sizeHint().height())
        line.addWidget(self.caption)
        line.addWidget(self.frames_button)
        line.addStretch(1)
        words = QVBoxLayout()
        words.setSpacing(0)
        words.addStretch(1)
        words.addWidget(self.name)
        words.addLayout(line)
        words.addStretch(1)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(6, 6, 4, 6)
        layout.setSpacing(8)
        layout.addWidget(self.picture)
        layout.addLayout(words)
        layout.addWidget(self.remove_button, 0, Qt.AlignmentFlag.AlignTop)

    def _draw(self) -> None:
        is_clip = self._kind is MediaKind.CLIP
        if self._image.isNull():
            colour = Theme.current(QApplication.instance()).muted
            self.picture.setPixmap(load_icon("clip" if is_clip else "picture", colour, 22).pixmap(22, 22))
        else:
            self.picture.setPixmap(_rounded_square(self._image, THUMBNAIL, self.devicePixelRatioF(), marked=is_clip))

    def _on_remove(self) -> None:
        self.removed.emit(self.key)


def _elided(metrics: QFontMetrics, name: str) -> str:
    return metrics.elidedText(name, Qt.TextElideMode.ElideMiddle, NAME_WIDTH)


def _rounded_square(image: QImage, edge: int, ratio: float, *, marked: bool) -> QPixmap:
    """The middle of the picture, filling a square with soft corners; `marked` as a clip."""
    pixmap = QPixmap(QSize(edge, edge) * ratio)
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    side = min(image.width(), image.height())
    middle = QRect((image.width() - side) // 2, (image.height() - side) // 2, side, side)
    painter = QPainter(pixmap)
    painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
    path = QPainterPath()
    path.addRoundedRect(QRectF(0, 0, edge, edge), 6, 6)
    painter.setClipPath(path)
    painter.drawImage(QRect(0, 0, edge, edge), image, middle)
    if marked:
        paint_play_mark(painter, QPointF(edge / 2, edge / 2), _MARK_RADIUS)
    painter.end()
    return pixmap
