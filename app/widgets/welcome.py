"""What an empty chat shows: what to do first, and, plainly, what the starter model is.

Knows nothing of files or models; it says which button was pressed.
"""

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

from app.icons import load_app_icon
from app.state.model_rows import STARTER_NOTE
from app.state.models import ModelsState
from app.state.wording import bytes_text
from app.widgets.centred import centred

WIDTH = 520


class Welcome(QScrollArea):
    """Signals: `attach_requested()`, `sample_requested()`."""

    attach_requested = Signal()
    sample_requested = Signal()

    def __init__(self, models: ModelsState, has_sample: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        choose = QPushButton("Choose files…")
        choose.setProperty("role", "primary")
        choose.clicked.connect(self.attach_requested)
        self.sample_button = QPushButton("Try a sample picture")
        self.sample_button.clicked.connect(self.sample_requested)
        self.sample_button.setVisible(has_sample)
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addStretch(1)
        buttons.addWidget(choose)
        buttons.addWidget(self.sample_button)
        buttons.addStretch(1)
        self.starter_card = StarterCard(models)
        page = QWidget()
        page.setProperty("role", "page")
        column = QVBoxLayout(page)
        column.setContentsMargins(24, 24, 24, 24)
        column.setSpacing(8)
        column.addStretch(3)
        column.addWidget(_app_icon(), 0, Qt.AlignmentFlag.AlignHCenter)
        column.addSpacing(8)
        column.addWidget(_sentence("Drop a picture or a clip here", "title"))
        column.addWidget(
            _sentence(
                "Then ask about it. Fovea looks at it on this computer; nothing is sent anywhere.\n"
                "You can also paste one, or just ask a question.",
                "muted",
            )
        )
        column.addSpacing(12)
        column.addLayout(buttons)
        column.addStretch(2)
        column.addLayout(centred(self.starter_card))
        column.addStretch(1)
        self.setWidget(page)
        self.setWidgetResizable(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)


class StarterCard(QFrame):
    """Shown while the starter is the loaded model: what it can do, and a better one for this machine in one click."""

    def __init__(self, models: ModelsState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._models = models
        self.setProperty("role", "card")
        self.setMaximumWidth(WIDTH)
        heading = QLabel("You are using the starter model")
        heading.setProperty("role", "heading")
        note = QLabel(STARTER_NOTE)
        note.setProperty("role", "muted")
        note.setWordWrap(True)
        self.better_button = QPushButton()
        self.better_button.clicked.connect(self._on_better)
        self._good_at = QLabel()
        self._good_at.setProperty("role", "caption")
        self._good_at.setWordWrap(True)
        offer = QHBoxLayout()
        offer.setSpacing(12)
        offer.addWidget(self.better_button)
        offer.addWidget(self._good_at, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 12, 16, 14)
        layout.setSpacing(6)
        layout.addWidget(heading)
        layout.addWidget(note)
        layout.addSpacing(4)
        layout.addLayout(offer)
        models.changed.connect(self._show_state)
        self._show_state(models)

    def _show_state(self, models: ModelsState) -> None:
        self.setVisible(models.loaded is not None and models.is_starter(models.loaded.source))
        better = models.better_model()
        self.better_button.setVisible(better is not None)
        self._good_at.setVisible(better is not None)
        if better is None:
            return
        verb = "Use" if models.is_here(better.repo_id) else "Get"
        size = "" if models.is_here(better.repo_id) else f" ({bytes_text(better.download_bytes)})"
        self.better_button.setText(f"{verb} {better.name}{size}")
        self.better_button.setEnabled(models.activity is None)
        self._good_at.setText(f"Better, and right for this computer’s memory. {better.good_at}.")

    def _on_better(self) -> None:
        better = self._models.better_model()
        if better is None:
            return
        if self._models.is_here(better.repo_id):
            self._models.load(better.repo_id)
        else:
            self._models.download(better.repo_id)


def _sentence(text: str, role: str) -> QLabel:
    label = QLabel(text)
    label.setProperty("role", role)
    label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
    label.setWordWrap(True)
    return label


def _app_icon() -> QLabel:
    label = QLabel()
    label.setPixmap(load_app_icon().pixmap(72, 72))
    label.setAccessibleName("Fovea")
    return label
