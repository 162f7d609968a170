"""Says how many frames of a clip are shown as pictures, and lets another number be chosen.

Knows nothing of the clip or of models; it is told the numbers there are.
"""

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QMenu, QToolButton, QWidget

from app.state.attachment_words import frames_text
from app.state.senses import FRAME_CHOICES, USUAL_FRAMES
from app.widgets.tinted import Tinted


class FramesButton(Tinted, QToolButton):
    """Signals: `chosen(frames)`."""

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "choice")
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        # The arrow comes after the words.
        self.setLayoutDirection(Qt.LayoutDirection.RightToLeft)
        self.setIconSize(QSize(10, 10))
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.setToolTip("This model takes no clips: it is shown this many frames of it, at even distances")
        self.set_icon_name("chevron-down-line")
        self._menu = QMenu(self)
        self._menu.setLayoutDirection(Qt.LayoutDirection.LeftToRight)
        self._group = QActionGroup(self._menu)
        self._group.triggered.connect(lambda action: self.chosen.emit(action.data()))
        self.setMenu(self._menu)
        self.show_choice(USUAL_FRAMES, FRAME_CHOICES)

    def sizeHint(self) -> QSize:
        """Without the two spaces that Qt leaves beside the words, which would part them from their arrow."""
        return super().sizeHint() - QSize(2 * self.fontMetrics().horizontalAdvance(" "), 0)

    def show_choice(self, frames: int, choices: tuple[int, ...]) -> None:
        self.setText(frames_text(frames))
        self.setAccessibleName(f"{frames_text(frames)}. Choose how many")
        self._menu.clear()
        for count in choices:
            action = QAction(frames_text(count), self._menu)
            action.setActionGroup(self._group)
            action.setData(count)
            action.setCheckable(True)
            action.setChecked(count == frames)
            self._menu.addAction(action)
