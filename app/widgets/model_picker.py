"""Above the chat: which model answers, how it is, and the list to choose another from.

Knows nothing of how models are loaded; it shows `ModelsState` and hands choices to it.
"""

from PySide6.QtCore import QModelIndex, QPoint, Qt
from PySide6.QtGui import QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QListView, QProgressBar, QVBoxLayout, QWidget

from app.models.model_list import ModelListModel
from app.state.model_rows import RowKind, loaded_name, state_text
from app.state.models import ModelsState
from app.state.wording import percent
from app.widgets.elided_label import ElidedLabel
from app.widgets.icon_button import IconButton
from app.widgets.menu_button import MenuButton
from app.widgets.model_delegate import ModelDelegate

LIST_WIDTH = 480
LIST_HEIGHT = 600


class ModelPicker(QWidget):
    def __init__(self, state: ModelsState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self.button = MenuButton("Choose a model")
        self.button.clicked.connect(self.open_list)
        self.state_label = ElidedLabel()
        self.state_label.setProperty("role", "caption")
        self.progress = QProgressBar()
        self.progress.setTextVisible(False)
        self.progress.setFixedWidth(96)
        self.progress.setAccessibleName("Progress of the model")
        self.cancel_button = IconButton("close", "Cancel", "Cancel loading")
        self.cancel_button.clicked.connect(state.cancel)
        self.list = ModelList(state, self)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        for widget in (self.button, self.state_label, self.progress, self.cancel_button):
            layout.addWidget(widget)
        layout.addStretch(1)
        state.changed.connect(self._show_state)
        self._show_state(state)

    def open_list(self) -> None:
        self._state.refresh()
        self.list.open_below(self.button)

    def _show_state(self, state: ModelsState) -> None:
        name, words = loaded_name(state), state_text(state)
        self.button.setText(name)
        self.button.setAccessibleName(f"Model: {name}. {words}")
        self.button.setToolTip(_details(state))
        self.state_label.setText(words)
        activity = state.activity
        self.progress.setVisible(activity is not None)
        self.cancel_button.setVisible(activity is not None)
        share = percent(activity.progress) if activity is not None and activity.progress is not None else None
        # A range of nothing is how a progress bar says that it does not know.
        self.progress.setRange(0, 0 if share is None else 100)
        self.progress.setValue(share or 0)


class ModelList(QFrame):
    """The pop-up list. Choosing a line loads that model, or downloads it first."""

    def __init__(self, state: ModelsState, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self._state = state
        self.setProperty("role", "card")
        self.setAccessibleName("Models")
        self.model = ModelListModel(state, self)
        self.view = _ModelView(self.model)
        self.view.clicked.connect(self.choose)
        self.view.activated.connect(self.choose)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self.view)
        self.model.modelReset.connect(self._on_reset)

    def open_below(self, button: QWidget) -> None:
        self._fit()
        corner = button.mapToGlobal(QPoint(0, button.height() + 4))
        room = button.screen().availableGeometry()
        corner.setX(max(room.left(), min(corner.x(), room.right() - self.width())))
        self.move(corner)
        self._select_current()
        self.show()
        self.view.setFocus()

    def choose(self, index: QModelIndex) -> None:
        if not index.isValid() or not index.flags() & Qt.ItemFlag.ItemIsEnabled:
            return
        row = self.model.row(index)
        self.hide()
        if row.kind is RowKind.OFFER:
            self._state.download(row.source)
        elif not row.current:
            self._state.load(row.source)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.hide()
        else:
            super().keyPressEvent(event)

    def _on_reset(self) -> None:
        self._fit()
        self._select_current()

    def _select_current(self) -> None:
        """The line of the loaded model, so that the keyboard starts from there."""
        rows = [self.model.index(number) for number in range(self.model.rowCount())]
        choosable = [index for index in rows if index.flags() & Qt.ItemFlag.ItemIsEnabled]
        current = next((index for index in choosable if self.model.row(index).current), choosable[0])
        self.view.setCurrentIndex(current)

    def _fit(self) -> None:
        self.resize(LIST_WIDTH, min(LIST_HEIGHT, self.view.content_height(LIST_WIDTH - 12) + 14))


class _ModelView(QListView):
    def __init__(self, model: ModelListModel) -> None:
        super().__init__()
        self.setModel(model)
        self.setItemDelegate(ModelDelegate(self))
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setMouseTracking(True)
        self.setUniformItemSizes(False)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.viewport().setAutoFillBackground(False)

    def content_height(self, width: int) -> int:
        self.resize(width, self.height())
        return sum(self.sizeHintForRow(row) for row in range(self.model().rowCount()))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.scheduleDelayedItemsLayout()


def _details(state: ModelsState) -> str:
    info = state.loaded
    if info is None:
        return "Choose a model"
    parts = [info.name, info.description, info.quantization, f"Runs on {info.device}" if info.device else "", info.note]
    return "\n".join(part for part in parts if part)
