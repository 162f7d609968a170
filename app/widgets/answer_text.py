"""The text of one answer while it grows: a pane for what is final and one for the tail that may still change.

Knows nothing of the turn around it. Only the tail is laid out again for each new piece of text.
"""

from PySide6.QtCore import QEvent, QUrl, Signal
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
        self.committed = TextPane("Answer")
        self.live = TextPane("Answer being written", is_final=False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        for pane in (self.committed, self.live):
            pane.hide()
            pane.link_activated.connect(self.link_activated)
            pane.copy_requested.connect(self.copy_requested)
            layout.addWidget(pane)
        self._use_theme(Theme.current(QApplication.instance()))

    @property
    def source(self) -> str:
        return "".join(self._pieces)

    def append(self, text: str) -> None:
        self._pieces.append(text)
        self._commit(self._splitter.append(text))
        self._show_tail()

    def finish(self) -> None:
        self._commit(self._splitter.finish())
        self._show_tail()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            theme = Theme.current(QApplication.instance())
            if theme != self._theme:
                self._use_theme(theme)

    def _use_theme(self, theme: Theme) -> None:
        self._theme = theme
        self._writer = MarkdownWriter(theme)
        self._tail = LiveTail(self.live.document(), self._writer)
        blocks, self._blocks, self._spans = self._blocks, [], []
        self.committed.document().clear()
        self._commit(blocks)
        self._show_tail()

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
