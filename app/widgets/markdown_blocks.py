"""Splits a growing Markdown text into blocks that are final and a tail that later text can still change.

Knows nothing of Qt or of what a block looks like. Each line is looked at once: the whole costs linear time. A list is
handed over item by item, so that a long list does not stay in the tail; link reference definitions are not followed
from one block to another.
"""

from dataclasses import dataclass, field, replace
from enum import Enum

from app.widgets.markdown_lines import (
    CODE_INDENT,
    Fence,
    ItemMarker,
    fence_in,
    indent_of,
    is_blank,
    is_heading,
    is_quote,
    is_rule,
    is_table_rule,
    is_underline,
    item_in,
    starts_next_item,
)


class BlockKind(Enum):
    PARAGRAPH = "paragraph"
    HEADING = "heading"
    RULE = "rule"
    CODE = "code"
    LIST_ITEM = "list item"
    TABLE = "table"
    QUOTE = "quote"


@dataclass(frozen=True, slots=True)
class Block:
    kind: BlockKind
    source: str
    """Exactly what was written, blank lines around it included."""
    number: int | None = None
    """Of an item in an ordered list: its place, which may differ from what was written."""

    @property
    def code(self) -> str:
        """What stands between the fences, or is indented."""
        lines = self._lines()
        fence = fence_in(lines[0])
        if fence is None:
            return "\n".join(line[CODE_INDENT:] for line in lines).rstrip()
        margin = indent_of(lines[0])
        while len(lines) > 1 and is_blank(lines[-1]):
            lines.pop()
        body = lines[1:-1] if len(lines) > 1 and fence.is_closed_by(lines[-1]) else self._lines()[1:]
        return "\n".join(line[min(margin, indent_of(line)) :] for line in body) if margin else "\n".join(body)

    @property
    def language(self) -> str:
        fence = fence_in(self._lines()[0])
        return fence.language if fence else ""

    def _lines(self) -> list[str]:
        return self.source.replace("\r\n", "\n").lstrip("\n").split("\n")


@dataclass(slots=True)
class _Open:
    """The block that lines are being added to."""

    kind: BlockKind
    lead: str
    """Blank lines before it."""
    lines: list[str]
    fence: Fence | None = None
    """Of a code block, or open inside a list item."""
    marker: ItemMarker | None = None
    number: int | None = None
    after_blank: bool = False

    def copy(self) -> "_Open":
        return replace(self, lines=list(self.lines))


@dataclass(slots=True)
class BlockSplitter:
    """`append` returns the blocks that became final; `tail` is everything after them."""

    _open: _Open | None = None
    _blank: list[str] = field(default_factory=list)
    """Blank lines before a block that has not begun."""
    _line: str = ""
    """The last line, which has no end yet."""
    _item: tuple[str, int] | None = None
    """Delimiter and number of the ordered item that ended last, while its list may go on."""
    _done: list[Block] = field(default_factory=list)

    def append(self, text: str) -> list[Block]:
        *lines, rest = text.split("\n")
        for line in lines:
            self._take(self._line + line + "\n")
            self._line = ""
        self._line += rest
        if self._open is not None and self._open.marker is not None and starts_next_item(self._line, self._open.marker):
            self._close()  # no need to wait for the end of the line
        return self._hand_over()

    def finish(self) -> list[Block]:
        """The text is complete: whatever is open is final. Blank lines at the end stay in `tail`."""
        if self._line:
            self._take(self._line)
            self._line = ""
        self._close()
        return self._hand_over()

    @property
    def tail(self) -> str:
        begun = (self._open.lead, *self._open.lines) if self._open else ()
        return "".join((*begun, *self._blank, self._line))

    def tail_blocks(self) -> list[Block]:
        """The tail as it would be if the text ended here."""
        ahead = replace(self, _open=self._open and self._open.copy(), _blank=list(self._blank), _done=[])
        return ahead.finish()

    def _hand_over(self) -> list[Block]:
        done, self._done = self._done, []
        return done

    def _take(self, line: str) -> None:
        if self._open is None:
            self._begin(line)
        elif not self._continues(self._open, line):
            self._close()
            self._begin(line)

    def _begin(self, line: str) -> None:
        if is_blank(line):
            self._blank.append(line)
            return
        lead, self._blank = "".join(self._blank), []
        lines = [line]
        fence, marker = fence_in(line), item_in(line)
        if indent_of(line) >= CODE_INDENT:
            self._open = _Open(BlockKind.CODE, lead, lines)
        elif fence is not None:
            self._open = _Open(BlockKind.CODE, lead, lines, fence=fence)
        elif is_heading(line):
            self._finish_with(_Open(BlockKind.HEADING, lead, lines))
        elif is_rule(line):
            self._finish_with(_Open(BlockKind.RULE, lead, lines))
        elif marker is not None:
            inner = fence_in(line[marker.content_indent :])
            self._open = _Open(BlockKind.LIST_ITEM, lead, lines, inner, marker, self._number(marker))
        elif is_quote(line):
            self._open = _Open(BlockKind.QUOTE, lead, lines)
        else:
            self._open = _Open(BlockKind.PARAGRAPH, lead, lines)

    def _number(self, marker: ItemMarker) -> int | None:
        if marker.number is None:
            return None
        if self._item is not None and self._item[0] == marker.delimiter:
            return self._item[1] + 1
        return marker.number

    def _continues(self, block: _Open, line: str) -> bool:
        """Add `line` to the open block, or say that it does not belong there."""
        match block.kind:
            case BlockKind.CODE:
                return self._continues_code(block, line)
            case BlockKind.LIST_ITEM:
                return self._continues_item(block, line)
            case _:
                return self._continues_text(block, line)

    def _continues_code(self, block: _Open, line: str) -> bool:
        if block.fence is None:
            if not is_blank(line) and indent_of(line) < CODE_INDENT:
                return False
            block.lines.append(line)
            return True
        block.lines.append(line)
        if block.fence.is_closed_by(line):
            self._close()
        return True

    def _continues_item(self, block: _Open, line: str) -> bool:
        indent = block.marker.content_indent if block.marker else 0
        if is_blank(line):
            block.after_blank = True
        elif indent_of(line) >= indent:
            inner = line.expandtabs(4)[indent:]
            if block.fence is None:
                block.fence = fence_in(inner)
            elif block.fence.is_closed_by(inner):
                block.fence = None
            block.after_blank = False
        elif block.fence is not None or block.after_blank or _starts_block(line) or item_in(line):
            return False
        block.lines.append(line)
        return True

    def _continues_text(self, block: _Open, line: str) -> bool:
        if is_blank(line):
            block.lines.append(line)
            self._close()
            return True
        if block.kind is BlockKind.PARAGRAPH:
            if is_underline(line):
                block.kind = BlockKind.HEADING
                block.lines.append(line)
                self._close()
                return True
            if len(block.lines) == 1 and is_table_rule(line, block.lines[0]):
                block.kind = BlockKind.TABLE
                block.lines.append(line)
                return True
        marker = item_in(line)
        if _starts_block(line) and not (block.kind is BlockKind.QUOTE and is_quote(line)):
            return False
        if marker is not None and marker.can_interrupt_paragraph():
            return False
        block.lines.append(line)
        return True

    def _finish_with(self, block: _Open) -> None:
        self._open = block
        self._close()

    def _close(self) -> None:
        block, self._open = self._open, None
        if block is None:
            return
        ordered = block.marker is not None and block.number is not None
        self._item = (block.marker.delimiter, block.number) if ordered else None
        self._done.append(Block(block.kind, block.lead + "".join(block.lines), block.number))


def _starts_block(line: str) -> bool:
    """Whether `line` ends a paragraph by being something else; list items are judged by the caller."""
    return fence_in(line) is not None or is_heading(line) or is_rule(line) or is_quote(line)
