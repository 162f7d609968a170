"""What a single line of Markdown can be: a fence, a heading, a list marker (CommonMark 0.31, GitHub's tables).

Knows nothing of the lines around it.
"""

import re
from dataclasses import dataclass

_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})[ \t]*([^\n]*)")
_HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t\r\n]|$)")
_RULE = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-+)$")
_QUOTE = re.compile(r" {0,3}>")
_ITEM = re.compile(r"( {0,3})([-+*]|(\d{1,9})([.)]))(?:([ \t]+)(?=\S)|[ \t]*$)")
_ITEM_TEXT = re.compile(r" {0,3}(?:[-+*]|\d{1,9}[.)]) {1,4}[^\W_]")
_TABLE_CELL = re.compile(r"[ \t]*:?-+:?[ \t]*")

CODE_INDENT = 4


@dataclass(frozen=True, slots=True)
class Fence:
    marker: str
    language: str

    def is_closed_by(self, line: str) -> bool:
        closing = line.strip()
        return len(closing) >= len(self.marker) and set(closing) == {self.marker[0]} and indent_of(line) < CODE_INDENT


@dataclass(frozen=True, slots=True)
class ItemMarker:
    content_indent: int
    """Where the item's text begins; what is indented as far belongs to the item."""
    delimiter: str
    """`-`, `+`, `*`, or what follows the number; another one starts another list."""
    number: int | None
    is_empty: bool

    def can_interrupt_paragraph(self) -> bool:
        return not self.is_empty and self.number in (None, 1)


def indent_of(line: str) -> int:
    """Columns of white space at the start, tabs reaching to the next multiple of four."""
    column = 0
    for character in line:
        if character == " ":
            column += 1
        elif character == "\t":
            column += 4 - column % 4
        else:
            break
    return column


def fence_in(line: str) -> Fence | None:
    match = _FENCE.match(line.rstrip())
    if match is None:
        return None
    words = match[2].split()
    return Fence(match[1], words[0] if words else "")


def item_in(line: str) -> ItemMarker | None:
    line = line.rstrip()
    match = _ITEM.match(line)
    if match is None:
        return None
    width = len(match[1]) + len(match[2])
    gap = indent_of(" " * width + (match[5] or "")) - width
    content = width + (gap if 1 <= gap <= CODE_INDENT else 1)
    return ItemMarker(content, match[4] or match[2], int(match[3]) if match[3] else None, match.end() == len(line))


def starts_next_item(line: str, current: ItemMarker) -> bool:
    """Whether `line`, which may not be complete, is beyond doubt the next item of the list that `current` is in."""
    return _ITEM_TEXT.match(line) is not None and indent_of(line) < current.content_indent


def is_blank(line: str) -> bool:
    return not line.strip()


def is_heading(line: str) -> bool:
    return _HEADING.match(line) is not None


def is_rule(line: str) -> bool:
    return _RULE.match(line.rstrip()) is not None


def is_underline(line: str) -> bool:
    """The line of `=` or `-` that makes the paragraph above it a heading."""
    return _UNDERLINE.match(line.rstrip()) is not None


def is_quote(line: str) -> bool:
    return _QUOTE.match(line) is not None


def is_table_rule(line: str, header: str) -> bool:
    """Whether `line` is the row of dashes that makes `header` the first row of a table."""
    cells = _cells(line)
    return (
        "|" in line
        and all(_TABLE_CELL.fullmatch(cell) for cell in cells)
        and len(cells) == len(_cells(header.replace("\\|", "")))
    )


def _cells(row: str) -> list[str]:
    return row.strip().removeprefix("|").removesuffix("|").split("|")
