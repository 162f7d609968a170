"""The text of one answer while it grows: a pane for what is final and one for the tail that may still change.

Knows nothing of the turn around it. Only the tail is laid out again for each new piece of text.
"""

from PySide6.QtCore import QEvent, QTimer, QUrl, Signal
from PySide6.QtGui import QPaintEvent
from PySide6.QtWidgets import QApplication, QVBoxLayout, QWidget

from app.theme import Theme
from app.widgets.markdown_blocks import Block, BlockSplitter
from app.widgets.markdown_tail import LiveTail
from app.widgets.markdown_writer import MarkdownWriter, Span
from app.widgets.text_pane import TextPane


class AnswerText(QWidget):
    """Signals: `link_activated(url)`, `copy_requested(code)`. Attributes: `source`, the Markdown as it came."""

    link_activated = Signal(QUrl)
    copy_requested = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pieces: list[str] = []
        self._splitter = BlockSplitter()
        self._blocks: list[Block] = []
        self._spans: list[Span] = []
        self.setLayout(QVBoxLayout())
        self.layout().setContentsMargins(0, 0, 0, 0)
        self.layout().setSpacing(0)
        self.committed = self._add_pane("Answer", is_final=True)
        self.live: TextPane | None = None
        self._new_theme = QTimer(self)
        self._new_theme.setSingleShot(True)
        self._new_theme.timeout.connect(self._on_new_theme)
        self._theme = Theme.current(QApplication.instance())
        self._writer = MarkdownWriter(self._theme)

    @property
    def source(self) -> str:
        return "".join(self._pieces)

    def append(self, text: str) -> None:
        self._pieces.append(text)
        self._commit(self._splitter.append(text))
        if self.live is None:
            self.live = self._add_pane("Answer being written", is_final=False)
            self._tail = LiveTail(self.live.document(), self._writer)
        self._show_tail()

    def finish(self) -> None:
        self._commit(self._splitter.finish())
        if self.live is not None:
            self.live.hide()
            self.live.deleteLater()
            self.live = None

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self.update()  # the new colours are put in when it is painted, which most of a long conversation is not

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        theme = Theme.current(QApplication.instance())
        if theme != self._theme and not self._new_theme.isActive():
            self._new_theme.start()

    def _on_new_theme(self) -> None:
        self._use_theme(Theme.current(QApplication.instance()))

    def _use_theme(self, theme: Theme) -> None:
        self._theme = theme
        self._writer = MarkdownWriter(theme)
        blocks, self._blocks, self._spans = self._blocks, [], []
        self.committed.document().clear()
        self._commit(blocks)
        if self.live is not None:
            self._tail = LiveTail(self.live.document(), self._writer)
            self._show_tail()

    def _add_pane(self, name: str, *, is_final: bool) -> TextPane:
        pane = TextPane(name, is_final=is_final)
        pane.hide()
        pane.link_activated.connect(self.link_activated)
        pane.copy_requested.connect(self.copy_requested)
        self.layout().addWidget(pane)
        return pane

    def _commit(self, blocks: list[Block]) -> None:
        if not blocks:
            return
        self._blocks += blocks
        for block in blocks:
            self._spans += self._writer.write(self.committed.document(), block)
        self.committed.show()
        self.committed.set_spans(self._spans)

    def _show_tail(self) -> None:
        blocks = self._splitter.tail_blocks()
        self._tail.show(blocks)
        self.live.setVisible(bool(blocks))
        self.live.set_spans(self._tail.spans)
