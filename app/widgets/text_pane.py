"""A piece of selectable text as high as it needs to be, with frames around code and bars beside quotes.

Knows nothing of Markdown. Loads nothing, opens nothing: a click on a link that `safe_link` lets pass is only reported.
"""

from math import ceil

from PySide6.QtCore import QRectF, QSize, Qt, QUrl, Signal
from PySide6.QtGui import QColor, QFocusEvent, QPainter, QPaintEvent, QResizeEvent, QTextOption, QWheelEvent
from PySide6.QtWidgets import QApplication, QFrame, QTextBrowser, QWidget

from app.theme import Theme
from app.widgets.code_bar import CodeBar
from app.widgets.links import safe_link
from app.widgets.markdown_formats import CODE_HEADER, CODE_PADDING, INDENT, QUOTE_INDENT
from app.widgets.markdown_writer import CodeSpan, QuoteSpan, Span
from app.widgets.sealed_document import SealedDocument

_BAR_WIDTH = 3
_USUAL_WIDTH = 200
_TAB_REASONS = (Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason)


class TextPane(QTextBrowser):
    """Signals: `link_activated(url)`, `copy_requested(text)`."""

    link_activated = Signal(QUrl)
    copy_requested = Signal(str)

    def __init__(self, name: str, *, is_final: bool = True, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._is_final = is_final
        self._spans: list[Span] = []
        self._bars: list[CodeBar] = []
        self._has_ring = False
        self._natural_width = _USUAL_WIDTH
        self.setProperty("role", "text")
        self.setAccessibleName(name)
        self.setDocument(SealedDocument(self))
        self.document().setIndentWidth(INDENT)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextBrowserInteraction | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.setOpenLinks(False)
        self.setAcceptDrops(False)
        self.viewport().setAutoFillBackground(False)
        self.anchorClicked.connect(self._on_anchor_clicked)
        self.document().documentLayout().documentSizeChanged.connect(self.fit)
        self.use_reading_size()

    def use_reading_size(self) -> None:
        font = self.font()
        font.setPointSizeF(Theme.current(QApplication.instance()).sizes.reading)
        self.setFont(font)

    def show_plain(self, text: str) -> None:
        """Show `text` as it is; the pane then wants to be just as wide as its longest line."""
        document = self.document()
        document.setPlainText(text)
        width = document.textWidth()
        document.setTextWidth(-1)
        self._natural_width = ceil(document.idealWidth()) + 2
        document.setTextWidth(width)
        self.updateGeometry()
        self.fit()

    def set_spans(self, spans: list[Span]) -> None:
        """What to draw around which lines; to be called after the document was written."""
        self._spans = list(spans)
        code = [span for span in spans if isinstance(span, CodeSpan)]
        while len(self._bars) < len(code):
            bar = CodeBar(self.viewport(), is_final=self._is_final)
            bar.copy_requested.connect(self.copy_requested)
            self._bars.append(bar)
        while len(self._bars) > len(code):
            self._bars.pop().deleteLater()
        for bar, span in zip(self._bars, code, strict=True):
            bar.show_span(span)
        self.fit()

    def fit(self) -> None:
        """Be as high as the text is at this width."""
        height = max(1, ceil(self.document().size().height()))
        if self._ends_with_code():
            height += CODE_PADDING  # Qt leaves out what is below the last line
        if height != self.height() or height != self.minimumHeight():
            self.setFixedHeight(height)
        for bar in self._bars:
            frame = self._frame_of(bar.span).toRect()
            bar.setGeometry(frame.left(), frame.top(), frame.width(), CODE_HEADER)

    def minimumSizeHint(self) -> QSize:
        return QSize(0, self.minimumHeight())

    def sizeHint(self) -> QSize:
        return QSize(self._natural_width, self.minimumHeight())

    def loadResource(self, kind: int, url: QUrl) -> None:
        """Nothing a model writes can make the window load anything."""

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self.fit()

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()

    def focusInEvent(self, event: QFocusEvent) -> None:
        self._has_ring = event.reason() in _TAB_REASONS
        super().focusInEvent(event)
        self.viewport().update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        self._has_ring = False
        super().focusOutEvent(event)
        self.viewport().update()

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._spans or self._has_ring:
            painter = QPainter(self.viewport())
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(Qt.PenStyle.NoPen)
            self._draw_around(painter, Theme.current(QApplication.instance()))
            painter.end()
        super().paintEvent(event)

    def _ends_with_code(self) -> bool:
        last = self._spans[-1] if self._spans else None
        return isinstance(last, CodeSpan) and last.last == self.document().blockCount() - 1

    def _draw_around(self, painter: QPainter, theme: Theme) -> None:
        for span in self._spans:
            frame = self._frame_of(span)
            if isinstance(span, CodeSpan):
                painter.setBrush(QColor(theme.code_background))
                painter.drawRoundedRect(frame, theme.radii.medium, theme.radii.medium)
            else:
                painter.setBrush(QColor(theme.border))
                painter.drawRect(QRectF(frame.left(), frame.top(), _BAR_WIDTH, frame.height()))
        if self._has_ring:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QColor(theme.accent))
            painter.drawRoundedRect(QRectF(self.viewport().rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)

    def _frame_of(self, span: Span) -> QRectF:
        document, layout = self.document(), self.document().documentLayout()
        first, last = document.findBlockByNumber(span.first), document.findBlockByNumber(span.last)
        style = first.blockFormat()
        left = style.indent() * INDENT + style.leftMargin()
        top, bottom = layout.blockBoundingRect(first).top(), layout.blockBoundingRect(last).bottom()
        if isinstance(span, QuoteSpan):
            return QRectF(left - QUOTE_INDENT, top, _BAR_WIDTH, bottom - top)
        left, top, bottom = left - CODE_PADDING, top - CODE_HEADER, bottom + CODE_PADDING
        return QRectF(left, top, self.viewport().width() - left, bottom - top)

    def _on_anchor_clicked(self, url: QUrl) -> None:
        safe = safe_link(url.toString())
        if safe is not None:
            self.link_activated.emit(safe)
