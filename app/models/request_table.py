"""The log of the local API as a Qt table model, the newest line first.

Knows nothing of servers; it follows `ServerState` and words what its log holds.
"""

from datetime import datetime
from enum import IntEnum

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt

from app.state.request_log import MOST_LINES, RequestLine
from app.state.server import ServerState
from app.state.server_wording import milliseconds_text, tokens_text

ERROR_ROLE = Qt.ItemDataRole.UserRole
"""Whether the request was refused or failed."""

Index = QModelIndex | QPersistentModelIndex


class Column(IntEnum):
    TIME = 0
    CLIENT = 1
    ROUTE = 2
    TOKENS = 3
    TOOK = 4
    STATUS = 5


HEADINGS = {
    Column.TIME: "Time",
    Column.CLIENT: "Client",
    Column.ROUTE: "Route",
    Column.TOKENS: "Tokens",
    Column.TOOK: "Took",
    Column.STATUS: "Status",
}
TIPS = {Column.TOKENS: "Read → written"}
_RIGHT = (Column.TOKENS, Column.TOOK, Column.STATUS)


class RequestTable(QAbstractTableModel):
    def __init__(self, state: ServerState, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self._lines = list(state.log.lines)
        state.logged.connect(self._on_logged)

    def line(self, row: int) -> RequestLine | None:
        return self._lines[row] if 0 <= row < len(self._lines) else None

    def rowCount(self, parent: Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self._lines)

    def columnCount(self, parent: Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(Column)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if not index.isValid():
            return None
        line, column = self._lines[index.row()], Column(index.column())
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return _text(line, column)
            case Qt.ItemDataRole.TextAlignmentRole:
                return _alignment(column)
            case Qt.ItemDataRole.ToolTipRole:
                return "\n".join(f"{HEADINGS[each]}: {_text(line, each)}" for each in Column if _text(line, each))
            case Qt.ItemDataRole.AccessibleTextRole:
                return f"{HEADINGS[column]}: {_text(line, column)}"
            case _ if role == ERROR_ROLE:
                return line.is_error
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if orientation is not Qt.Orientation.Horizontal:
            return None
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return HEADINGS[Column(section)]
            case Qt.ItemDataRole.TextAlignmentRole:
                return _alignment(Column(section))
            case Qt.ItemDataRole.ToolTipRole:
                return TIPS.get(Column(section))
        return None

    def _on_logged(self, line: RequestLine | None) -> None:
        if line is None:
            self.beginResetModel()
            self._lines = list(self._state.log.lines)
            self.endResetModel()
            return
        self.beginInsertRows(QModelIndex(), 0, 0)
        self._lines.insert(0, line)
        self.endInsertRows()
        if len(self._lines) > MOST_LINES:
            last = len(self._lines) - 1
            self.beginRemoveRows(QModelIndex(), last, last)
            self._lines.pop()
            self.endRemoveRows()


def _text(line: RequestLine, column: Column) -> str:
    match column:
        case Column.TIME:
            return datetime.fromtimestamp(line.at).strftime("%H:%M:%S")
        case Column.CLIENT:
            return line.client
        case Column.ROUTE:
            return line.route
        case Column.TOKENS:
            return tokens_text(line)
        case Column.TOOK:
            return milliseconds_text(line.milliseconds)
        case Column.STATUS:
            return str(line.status)


def _alignment(column: Column) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if column in _RIGHT else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter
