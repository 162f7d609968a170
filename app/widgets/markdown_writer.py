"""Writes Markdown blocks at the end of a document, in the theme's formats.

Knows nothing of streaming or of widgets. Qt parses; what it found is then written out piece by piece, so that nothing
gets into the document but text, lists and tables: markup is shown as text, pictures become their address, and only
addresses that `safe_link` lets pass become links.
"""

import re
from dataclasses import dataclass

from PySide6.QtGui import (
    QColor,
    QTextBlock,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextFormat,
    QTextList,
    QTextListFormat,
    QTextTable,
)

from app.theme import Theme
from app.widgets.code_colours import CodeColours
from app.widgets.links import safe_link, shown_address
from app.widgets.markdown_blocks import Block, BlockKind
from app.widgets.markdown_formats import MarkdownFormats, SpanStyle
from app.widgets.sealed_document import SealedDocument

# GitHub's dialect without what Qt adds to it (front matter, underlining by `_`) and without HTML: bare addresses
# become links (0x4 | 0x8 | 0x400), tables (0x100), strike-through (0x200), task lists (0x800), no HTML (0x20 | 0x40).
_FEATURES = QTextDocument.MarkdownFeature(0x0F0C | 0x60)
_LINE_BREAK = "\u2028"
_PARAGRAPH_BREAK = re.compile(r"(?:[ \t]+|\\)?\r?\n[ \t]*")
_HARD_BREAK = re.compile(r"(?<=\S)(?: {2,}|\\)\n[ \t>]*(?=[^\s\-*+>#|`~\d])")
_NAMELESS_PICTURE = re.compile(r"(?<!`)!\[\s*\](?=[(\[])")
_CODE_FENCE = QTextFormat.Property.BlockCodeFence
_CODE_LANGUAGE = QTextFormat.Property.BlockCodeLanguage
_QUOTE_LEVEL = QTextFormat.Property.BlockQuoteLevel
_RULE = QTextFormat.Property.BlockTrailingHorizontalRulerWidth


@dataclass(frozen=True, slots=True)
class CodeSpan:
    """A code block in a document: its first and last line's block numbers."""

    first: int
    last: int
    language: str
    code: str


@dataclass(frozen=True, slots=True)
class QuoteSpan:
    first: int
    last: int


Span = CodeSpan | QuoteSpan


class MarkdownWriter:
    def __init__(self, theme: Theme) -> None:
        self._formats = MarkdownFormats(theme)
        self._colours = CodeColours(theme, self._formats.code)
        self._parsed = SealedDocument()

    def write(self, document: QTextDocument, block: Block) -> list[Span]:
        """Append `block`; returns what has to be drawn around lines of it."""
        cursor = QTextCursor(document)
        cursor.movePosition(QTextCursor.MoveOperation.End)
        cursor.beginEditBlock()
        if document.blockCount() == 1 and _is_spare(cursor.block()):
            cursor.setBlockFormat(self._formats.edge())
        if block.kind is BlockKind.CODE:
            spans: list[Span] = [self._write_code(cursor, block.code, block.language, 0)]
        elif block.kind is BlockKind.RULE:
            _begin(cursor, self._formats.rule())
            spans = []
        else:
            self._parsed.setMarkdown(_prepare(block), _FEATURES)
            spans = self._write_parsed(cursor, block.number)
        cursor.endEditBlock()
        return spans

    def extend(self, document: QTextDocument, text: str, *, is_code: bool = False) -> None:
        """Add `text` as it is to what the document ends with."""
        cursor = QTextCursor(document)
        cursor.movePosition(QTextCursor.MoveOperation.End)
        if is_code:
            cursor.insertText(text, self._formats.code)
        else:
            cursor.insertText(text.replace("\n", _LINE_BREAK), cursor.charFormat())

    def _write_parsed(self, cursor: QTextCursor, number: int | None) -> list[Span]:
        spans: list[Span] = []
        lists: dict[int, QTextList] = {}
        block = self._parsed.begin()
        while block.isValid():
            table = QTextCursor(block).currentTable()
            if table is not None:
                self._write_table(cursor, table)
                block = table.lastCursorPosition().block().next()
            elif block.blockFormat().hasProperty(_CODE_FENCE):
                around = block.textList()
                indent = around.format().indent() if around is not None else block.blockFormat().indent()
                language = str(block.blockFormat().property(_CODE_LANGUAGE) or "")
                block, lines = _take_code(block)
                spans.append(self._write_code(cursor, "\n".join(lines), language, indent))
            else:
                if not _is_beside_table(block):
                    spans += self._write_text(cursor, block, lists, number)
                block = block.next()
        return spans

    def _write_text(
        self, cursor: QTextCursor, block: QTextBlock, lists: dict[int, QTextList], number: int | None
    ) -> list[Span]:
        parsed, parsed_list = block.blockFormat(), block.textList()
        if parsed.hasProperty(_RULE):
            _begin(cursor, self._formats.rule())
            return []
        level = int(parsed.property(_QUOTE_LEVEL) or 0)
        _begin(cursor, self._formats.paragraph(parsed, parsed_list is not None, level))
        if parsed_list is not None:
            self._add_to_list(cursor, parsed_list, lists, number)
        self._write_inline(cursor, block, parsed.headingLevel(), muted=level > 0)
        return [QuoteSpan(cursor.blockNumber(), cursor.blockNumber())] if level else []

    def _add_to_list(
        self, cursor: QTextCursor, parsed: QTextList, lists: dict[int, QTextList], number: int | None
    ) -> None:
        key = parsed.objectIndex()
        if key in lists:
            lists[key].add(cursor.block())
            return
        style = QTextListFormat(parsed.format())
        style.setIndent(min(style.indent(), 6))
        if number is not None and not lists:
            style.setStart(number)
        lists[key] = cursor.createList(style)

    def _write_inline(self, cursor: QTextCursor, block: QTextBlock, heading: int = 0, *, muted: bool = False) -> None:
        spans = block.begin()
        while not spans.atEnd():
            fragment = spans.fragment()
            parsed = fragment.charFormat()
            style = self._formats.span(SpanStyle.of(parsed, heading, muted))
            if parsed.isImageFormat():
                self._write_picture(cursor, parsed, style)
            elif parsed.isAnchor():
                self._write_link(cursor, fragment.text(), parsed.anchorHref(), style)
            else:
                cursor.insertText(fragment.text(), style)
            spans += 1

    def _write_picture(self, cursor: QTextCursor, parsed: QTextCharFormat, style: QTextCharFormat) -> None:
        image = parsed.toImageFormat()
        name = image.property(QTextFormat.Property.ImageAltText) or "picture"
        self._write_link(cursor, f"[{name}]", image.name(), style)

    def _write_link(self, cursor: QTextCursor, text: str, address: str, style: QTextCharFormat) -> None:
        url = safe_link(address)
        cursor.insertText(text, style if url is None else self._formats.link(style, url.toString()))
        shown = shown_address(address)
        if text.strip() not in (address, shown, address.removeprefix("mailto:"), address.removeprefix("http://")):
            cursor.insertText(f" ({shown})", self._formats.muted)

    def _write_table(self, cursor: QTextCursor, parsed: QTextTable) -> None:
        table = cursor.insertTable(parsed.rows(), parsed.columns(), self._formats.table(parsed.columns()))
        for row in range(parsed.rows()):
            for column in range(parsed.columns()):
                source = parsed.cellAt(row, column).firstCursorPosition().block()
                cell = table.cellAt(row, column)
                into = cell.firstCursorPosition()
                style = QTextBlockFormat()
                style.setAlignment(source.blockFormat().alignment())
                into.setBlockFormat(style)
                self._write_inline(into, source)
                if row == 0:
                    shade = cell.format()
                    shade.setBackground(QColor(self._formats.theme.code_background))
                    cell.setFormat(shade)
        cursor.movePosition(QTextCursor.MoveOperation.End)
        cursor.setBlockFormat(self._formats.spare())

    def _write_code(self, cursor: QTextCursor, code: str, language: str, indent: int) -> CodeSpan:
        line = self._formats.code_line(indent)
        _begin(cursor, line)
        first = cursor.blockNumber()
        for text, style in self._colours.stretches(code, language):
            cursor.insertText(text, style)
        last = cursor.blockNumber()
        document = cursor.document()
        for number in {first, last}:
            edge = QTextCursor(document.findBlockByNumber(number))
            edge.setBlockFormat(self._formats.code_edges(line, number == first, number == last))
        return CodeSpan(first, last, language, code)


def _prepare(block: Block) -> str:
    """Keep the line breaks a model wrote: in a picture's text they mean something. Qt drops pictures without a name."""
    source = _NAMELESS_PICTURE.sub("![picture]", block.source)
    if block.kind is BlockKind.PARAGRAPH:
        return _PARAGRAPH_BREAK.sub(_LINE_BREAK, source.strip())
    if block.kind in (BlockKind.LIST_ITEM, BlockKind.QUOTE) and "```" not in source:
        return _HARD_BREAK.sub(_LINE_BREAK, source)
    return source


def _take_code(block: QTextBlock) -> tuple[QTextBlock, list[str]]:
    """The lines of the code block that begins here, and the block after it."""
    lines: list[str] = []
    while block.isValid() and block.blockFormat().hasProperty(_CODE_FENCE):
        lines.append(block.text())
        block = block.next()
    return block, lines


def _begin(cursor: QTextCursor, style: QTextBlockFormat) -> None:
    """Start a paragraph at the end of the document, in the empty one if there is one to spare."""
    if _is_spare(cursor.block()):
        cursor.setBlockFormat(style)
    else:
        cursor.insertBlock(style, QTextCharFormat())


def _is_spare(block: QTextBlock) -> bool:
    return block.length() <= 1 and not block.blockFormat().hasProperty(QTextFormat.Property.BlockTopMargin)


def _is_beside_table(block: QTextBlock) -> bool:
    """Whether this is one of the empty lines that Qt puts before and after a table."""
    return block.length() <= 1 and block.textList() is None and not block.blockFormat().hasProperty(_RULE)
