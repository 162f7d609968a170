"""Keeps a document showing the part of an answer that is still being written.

Knows nothing of what is already final. Rendering the whole tail for each token would be quadratic, so it is rendered
only when the new text can change how it looks; and a long one only when it has grown by a good part of itself. Text
that comes between is added as it is.
"""

import re
from dataclasses import replace

from PySide6.QtGui import QTextDocument

from app.widgets.markdown_blocks import Block, BlockKind
from app.widgets.markdown_writer import MarkdownWriter, Span

_SHORT = 300
"""Characters that are cheap enough to render again whenever that may change something."""
_GROWTH = 6
"""A longer tail is rendered again when it has grown by one part in so many."""
_SETTLED = re.compile(r"\s*(?:(?:[-*+>]|#+|\d+[.)])\s+)*[^\W\d_]")
"""The start of a line that no further words on it can turn into a heading, a list item or a fence."""
_WORDS = re.compile(r"[^\W_]*(?:[ ,.;?'-]+[^\W_]*)*")
"""What neither opens nor closes any markup."""
_AFTER_MARKUP = frozenset("*_`~)]>")
"""After these, what follows looks different from what came before."""
_UNFINISHED = re.compile(r"[:/@&]|www")
"""In the last word: an address or a character's name, which more letters make a different one."""


class LiveTail:
    """Attributes: `rendered_characters` counts the work done, `spans` is for whoever draws around code."""

    def __init__(self, document: QTextDocument, writer: MarkdownWriter) -> None:
        self._document = document
        self._writer = writer
        self._rendered: list[Block] = []
        self._shown = ""
        self.spans: list[Span] = []
        self.rendered_characters = 0

    def show(self, blocks: list[Block]) -> None:
        blocks = [_without_half_a_fence(block) if block.kind is BlockKind.CODE else block for block in blocks]
        if self._can_extend(blocks):
            self._extend(blocks[-1])
        else:
            self._render(blocks)

    def _can_extend(self, blocks: list[Block]) -> bool:
        if not blocks or len(blocks) != len(self._rendered) or blocks[:-1] != self._rendered[:-1]:
            return False
        old, new = self._rendered[-1], blocks[-1]
        if new.kind is not old.kind or not new.source.startswith(self._shown):
            return False
        if new.kind is BlockKind.CODE and "\n" not in self._shown.lstrip():
            return False  # the language is still being named
        if len(new.source) > _SHORT:
            return len(new.source) < len(old.source) + len(old.source) // _GROWTH
        added = new.source[len(self._shown) :]
        if new.kind in (BlockKind.CODE, BlockKind.TABLE):
            return "\n" not in added
        return _is_more_words(self._shown, added)

    def _extend(self, block: Block) -> None:
        if block.kind is BlockKind.TABLE:
            return  # its rows come whole, when it is rendered again
        added = block.source[len(self._shown) :]
        self._writer.extend(self._document, added, is_code=block.kind is BlockKind.CODE)
        self._shown = block.source

    def _render(self, blocks: list[Block]) -> None:
        self._document.clear()
        self.spans = [span for block in blocks for span in self._writer.write(self._document, block)]
        self._rendered = blocks
        self.rendered_characters += sum(len(block.source) for block in blocks)
        if blocks:
            # White space at the end is not shown until something follows it.
            self._shown = blocks[-1].source if blocks[-1].kind is BlockKind.CODE else blocks[-1].source.rstrip()


def _is_more_words(shown: str, added: str) -> bool:
    line = shown[shown.rfind("\n") + 1 :]
    if _SETTLED.match(line) is None or line[-1] in _AFTER_MARKUP or _WORDS.fullmatch(added) is None:
        return False
    return _UNFINISHED.search(line[line.rfind(" ") + 1 :] + added) is None


def _without_half_a_fence(block: Block) -> Block:
    """Leave out a last line that looks like the fence that will close the block."""
    code, _, last = block.source.rpartition("\n")
    if code.strip() and last.strip() and not last.strip("`~ "):
        return replace(block, source=f"{code}\n")
    return block
