"""Lines of code to read and to select, in colours, as high as they are many; long ones are scrolled, never broken.

Knows nothing of what the code is for.
"""

from collections.abc import Iterator

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QResizeEvent, QTextBlock, QTextCursor, QTextDocument
from PySide6.QtWidgets import QApplication, QPlainTextEdit, QWidget

from app.theme import Theme
from app.widgets.code_colours import CodeColours
from app.widgets.markdown_formats import MarkdownFormats

_PADDING = 10


class CodeView(QPlainTextEdit):
    def __init__(self, name: str, *, most_lines: int = 40, wraps: bool = False, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._code = ""
        self._language = ""
        self._most_lines = most_lines
        self._wraps = wraps
        self._theme: Theme | None = None
        self.setProperty("role", "code")
        self.setAccessibleName(name)
        self.setReadOnly(True)
        self.setUndoRedoEnabled(False)
        self.setTabChangesFocus(True)
        mode = QPlainTextEdit.LineWrapMode
        self.setLineWrapMode(mode.WidgetWidth if wraps else mode.NoWrap)
        self.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.document().setDocumentMargin(_PADDING)

    @property
    def code(self) -> str:
        return self._code

    def show_code(self, code: str, language: str) -> None:
        self._code, self._language = code, language
        self._write(Theme.current(QApplication.instance()))

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and self._theme is not None:
            theme = Theme.current(QApplication.instance())
            if theme != self._theme:
                self._write(theme)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self._fit()

    def _write(self, theme: Theme) -> None:
        self._theme = theme
        formats = MarkdownFormats(theme)
        colours = CodeColours(theme, formats.code)
        self.clear()
        cursor = QTextCursor(self.document())
        for text, style in colours.stretches(self._code, self._language):
            cursor.insertText(text, style)
        self.moveCursor(QTextCursor.MoveOperation.Start)
        self._fit()

    def _fit(self) -> None:
        """High enough for all lines, and for a scroll bar beneath them where one is wider than there is room."""
        document = self.document()
        shown = sum(block.layout().lineCount() or 1 for block in _blocks(document))
        first = document.firstBlock()
        line = first.layout().boundingRect().height() / (first.layout().lineCount() or 1)
        height = round(min(shown, self._most_lines) * line) + 2 * _PADDING + 2 * self.frameWidth()
        is_cut = shown > self._most_lines
        policy = Qt.ScrollBarPolicy.ScrollBarAsNeeded if is_cut else Qt.ScrollBarPolicy.ScrollBarAlwaysOff
        self.setVerticalScrollBarPolicy(policy)
        if not self._wraps and document.documentLayout().documentSize().width() > self.viewport().width():
            height += self.horizontalScrollBar().sizeHint().height()
        if height != self.height():
            self.setFixedHeight(height)


def _blocks(document: QTextDocument) -> Iterator[QTextBlock]:
    block = document.begin()
    while block.isValid():
        yield block
        block = block.next()
