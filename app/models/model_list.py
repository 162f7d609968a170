"""The model picker's lines as a Qt list model.

Knows nothing of loading; it follows `ModelsState` and holds what `model_rows` makes of it.
"""

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, Qt

from app.state.model_rows import ModelRow, RowKind, model_rows
from app.state.models import ModelsState

ROW_ROLE = Qt.ItemDataRole.UserRole
"""The `ModelRow` itself, for the delegate."""

Index = QModelIndex | QPersistentModelIndex


class ModelListModel(QAbstractListModel):
    def __init__(self, state: ModelsState, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows = model_rows(state)
        state.changed.connect(self._on_changed)

    def row(self, index: Index) -> ModelRow:
        return self._rows[index.row()]

    def rowCount(self, parent: Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if not index.isValid():
            return None
        row = self._rows[index.row()]
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return row.title
            case Qt.ItemDataRole.AccessibleTextRole:
                return ". ".join(part for part in (row.title, row.subtitle, row.badge) if part)
            case _ if role == ROW_ROLE:
                return row
        return None

    def flags(self, index: Index) -> Qt.ItemFlag:
        row = self._rows[index.row()]
        if row.kind is RowKind.HEADING or not row.enabled:
            return Qt.ItemFlag.NoItemFlags
        return Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable

    def _on_changed(self, state: ModelsState) -> None:
        rows = model_rows(state)
        if rows != self._rows:
            self.beginResetModel()
            self._rows = rows
            self.endResetModel()
