"""What programs have asked of the local API, as it comes, and how busy it is.

Knows nothing of servers; it shows the log of `ServerState`.
"""

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, Qt, QTimer
from PySide6.QtGui import QColor, QHideEvent, QPalette, QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from app.models.request_table import ERROR_ROLE, Column, RequestTable
from app.state.request_log import RequestLine
from app.state.server import ServerState
from app.state.server_wording import throughput_text
from app.theme import Theme
from app.widgets.choices import CheckBox
from app.widgets.code_view import CodeView
from app.widgets.section import Section, caption, titled

_ROW_HEIGHT = 28
_MOST_ROWS = 8
_MOST_LINES = 10
"""Of a question or an answer, before it scrolls."""
_NEEDED = {Column.CLIENT: 600, Column.TIME: 500}
"""Pixels of the table, below which these columns are left out."""
_TICK_MS = 2000


class RequestPanel(Section):
    def __init__(self, state: ServerState, parent: QWidget | None = None) -> None:
        super().__init__("Requests", parent)
        self._state = state
        self.model = RequestTable(state, self)
        self.view = _TableView(self.model)
        self.nothing = titled("Nothing has been asked yet. Requests appear here as they come.", "muted")
        self.nothing.setWordWrap(True)
        self.bodies = Bodies()
        self.keep = CheckBox("Keep what is asked and answered")
        self.keep.setToolTip("Until you turn this off, clear the list or quit; never on the disk.")
        self.keep.clicked.connect(state.set_logs_bodies)
        self.clear_button = QPushButton("Clear")
        self.clear_button.setProperty("role", "quiet")
        self.clear_button.clicked.connect(state.clear_log)
        below = QHBoxLayout()
        below.addWidget(self.keep, 1)
        below.addWidget(self.clear_button)
        for widget in (self.nothing, self.view, self.bodies):
            self.body.addWidget(widget)
        self.body.addLayout(below)
        self._tick = QTimer(self)
        self._tick.setInterval(_TICK_MS)
        self._tick.timeout.connect(self._show_throughput)
        self.view.selectionModel().currentRowChanged.connect(lambda _new, _old: self._show_bodies())
        self.model.modelReset.connect(self._show_bodies)
        state.logged.connect(lambda _line: self._show_log())
        state.changed.connect(self._show_state)
        self._show_state(state)
        self._show_log()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._tick.start()
        self._show_throughput()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._tick.stop()

    def _show_state(self, state: ServerState) -> None:
        self.keep.setChecked(state.options.logs_bodies)

    def _show_log(self) -> None:
        count = self.model.rowCount()
        self.nothing.setVisible(count == 0)
        self.view.setVisible(count > 0)
        self.clear_button.setEnabled(count > 0)
        self.view.fit(count)
        self._show_throughput()

    def _show_throughput(self) -> None:
        self.aside.setText(throughput_text(self._state.log.throughput()) if self.model.rowCount() else "")

    def _show_bodies(self) -> None:
        self.bodies.show_line(self.model.line(self.view.currentIndex().row()))


class Bodies(QWidget):
    """What one request asked, and what it was answered."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = CodeView("What was asked", most_lines=_MOST_LINES, wraps=True)
        self.answered = CodeView("What was answered", most_lines=_MOST_LINES, wraps=True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for name, view in (("Asked", self.asked), ("Answered", self.answered)):
            layout.addWidget(caption(name))
            layout.addWidget(view)
        self.hide()

    def show_line(self, line: RequestLine | None) -> None:
        self.setVisible(line is not None and line.has_bodies)
        self.asked.show_code(line.asked if line else "", "")
        self.answered.show_code(line.answered if line else "", "")


class _TableView(QTableView):
    def __init__(self, model: RequestTable) -> None:
        super().__init__()
        self.setModel(model)
        self.setItemDelegate(_ErrorDelegate(self))
        self.setAccessibleName("Requests")
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setCornerButtonEnabled(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionsClickable(False)
        header.setMinimumSectionSize(48)
        # Only rows that are seen decide: a long list is not read again for each line that comes.
        header.setResizeContentsPrecision(0)
        for column in Column:
            stretches = column is Column.ROUTE
            mode = QHeaderView.ResizeMode.Stretch if stretches else QHeaderView.ResizeMode.ResizeToContents
            header.setSectionResizeMode(column, mode)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Where there is little room, what matters least makes place for the route."""
        for column, width in _NEEDED.items():
            self.setColumnHidden(column, event.size().width() < width)
        super().resizeEvent(event)

    def fit(self, rows: int) -> None:
        """As high as there are lines, up to a few; as wide as what they say, which Qt looks at by itself only once."""
        for column in Column:
            if column is not Column.ROUTE:
                self.resizeColumnToContents(column)
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + min(rows, _MOST_ROWS) * _ROW_HEIGHT + 4)


class _ErrorDelegate(QStyledItemDelegate):
    """Writes the status of what was refused or failed in the colour of errors."""

    def initStyleOption(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> None:
        super().initStyleOption(option, index)
        if index.column() == Column.STATUS and index.data(ERROR_ROLE):
            colour = QColor(Theme.current(QApplication.instance()).error)
            for role in (QPalette.ColorRole.Text, QPalette.ColorRole.HighlightedText):
                option.palette.setColor(role, colour)
