"""What each part of an answer looks like: Qt text formats made from a theme.

Knows nothing of how Markdown is parsed.
"""

import sys
from dataclasses import dataclass

from PySide6.QtGui import (
    QBrush,
    QColor,
    QFont,
    QFontDatabase,
    QTextBlockFormat,
    QTextCharFormat,
    QTextFormat,
    QTextFrameFormat,
    QTextLength,
    QTextTableFormat,
)

from app.theme import Theme

INDENT = 24
CODE_PADDING = 12
CODE_HEADER = 30
QUOTE_INDENT = 16
_DEEPEST = 6
_LINE_HEIGHT = 120.0
_PARAGRAPH_GAP = 10
_ITEM_GAP = 4
_CELL_PADDING = ((6, 6), (10, 3), (sys.maxsize, 1))
"""Up to so many columns, so many pixels."""
_HEADING_SCALES = (1.5, 1.28, 1.12, 1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class SpanStyle:
    """How a stretch of text is set apart."""

    is_code: bool
    is_bold: bool
    is_italic: bool
    is_struck: bool
    is_muted: bool
    heading: int
    """1..6; 0 is none."""

    @classmethod
    def of(cls, parsed: QTextCharFormat, heading: int, muted: bool) -> "SpanStyle":
        is_bold = heading > 0 or parsed.fontWeight() > QFont.Weight.Medium
        code, struck = parsed.fontFixedPitch(), parsed.fontStrikeOut()
        return cls(code, is_bold, parsed.fontItalic(), struck, muted, min(heading, len(_HEADING_SCALES)))


class MarkdownFormats:
    """Attributes: `theme`, and the character formats `body`, `muted` and `code`."""

    def __init__(self, theme: Theme) -> None:
        self.theme = theme
        self.body = QTextCharFormat()
        self.body.setForeground(QColor(theme.text))
        self.muted = QTextCharFormat()
        self.muted.setForeground(QColor(theme.muted))
        self.code = QTextCharFormat(self.body)
        self.code.setFontFamilies([QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont).family(), "monospace"])
        self.code.setFontFixedPitch(True)
        self.code.setFontPointSize(theme.sizes.reading * 0.92)
        self._spans: dict[SpanStyle, QTextCharFormat] = {}

    def span(self, style: SpanStyle) -> QTextCharFormat:
        if style not in self._spans:
            self._spans[style] = self._make_span(style)
        return self._spans[style]

    def _make_span(self, style: SpanStyle) -> QTextCharFormat:
        made = QTextCharFormat(self.code if style.is_code else self.muted if style.is_muted else self.body)
        if style.is_code:
            made.setBackground(QColor(self.theme.code_background))
        if style.heading:
            made.setFontPointSize(self.theme.sizes.reading * _HEADING_SCALES[style.heading - 1])
        if style.is_bold:
            made.setFontWeight(QFont.Weight.DemiBold)
        made.setFontItalic(style.is_italic)
        made.setFontStrikeOut(style.is_struck)
        return made

    def link(self, under: QTextCharFormat, address: str) -> QTextCharFormat:
        made = QTextCharFormat(under)
        made.setAnchor(True)
        made.setAnchorHref(address)
        made.setToolTip(address)
        made.setForeground(QColor(self.theme.accent))
        made.setFontUnderline(True)
        return made

    def paragraph(self, parsed: QTextBlockFormat, in_list: bool, quote_level: int) -> QTextBlockFormat:
        gap = _ITEM_GAP if in_list or parsed.indent() else _PARAGRAPH_GAP
        made = self._block(gap, gap)
        made.setHeadingLevel(parsed.headingLevel())
        if parsed.headingLevel():
            made.setTopMargin(_PARAGRAPH_GAP * 1.6)
            made.setBottomMargin(_PARAGRAPH_GAP * 0.6)
        made.setIndent(min(parsed.indent(), _DEEPEST))
        made.setLeftMargin(QUOTE_INDENT * min(quote_level, _DEEPEST))
        made.setAlignment(parsed.alignment())
        if in_list:
            made.setMarker(parsed.marker())
        return made

    def code_line(self, indent: int) -> QTextBlockFormat:
        made = self._block(0, 0)
        made.setIndent(min(indent, _DEEPEST))
        made.setLeftMargin(CODE_PADDING)
        made.setRightMargin(CODE_PADDING)
        return made

    def code_edges(self, line: QTextBlockFormat, is_first: bool, is_last: bool) -> QTextBlockFormat:
        """A line of code with the room that the header needs above the first, and the frame below the last."""
        made = QTextBlockFormat(line)
        made.setTopMargin(_PARAGRAPH_GAP + CODE_HEADER if is_first else 0)
        made.setBottomMargin(_PARAGRAPH_GAP + CODE_PADDING if is_last else 0)
        return made

    def rule(self) -> QTextBlockFormat:
        made = self._block(_PARAGRAPH_GAP, _PARAGRAPH_GAP)
        made.setProperty(
            QTextFormat.Property.BlockTrailingHorizontalRulerWidth,
            QTextLength(QTextLength.Type.PercentageLength, 100),
        )
        made.setBackground(QColor(self.theme.border))
        return made

    def spare(self) -> QTextBlockFormat:
        """An empty line that Qt insists on around a table, made too thin to be seen."""
        made = QTextBlockFormat()
        made.setLineHeight(1, QTextBlockFormat.LineHeightTypes.FixedHeight.value)
        return made

    def edge(self) -> QTextBlockFormat:
        """A line too thin to be seen; Qt leaves out what is above the first line, so this one comes first."""
        made = self.spare()
        made.setTopMargin(0)
        return made

    def table(self, columns: int) -> QTextTableFormat:
        made = QTextTableFormat()
        made.setBorder(1)
        made.setBorderStyle(QTextFrameFormat.BorderStyle.BorderStyle_Solid)
        made.setBorderBrush(QBrush(QColor(self.theme.border)))
        made.setBorderCollapse(True)
        made.setCellSpacing(0)
        made.setCellPadding(next(padding for most, padding in _CELL_PADDING if columns <= most))
        made.setTopMargin(_PARAGRAPH_GAP)
        made.setBottomMargin(_PARAGRAPH_GAP)
        made.setHeaderRowCount(1)
        return made

    def _block(self, top: float, bottom: float) -> QTextBlockFormat:
        made = QTextBlockFormat()
        made.setTopMargin(top)
        made.setBottomMargin(bottom)
        made.setLineHeight(_LINE_HEIGHT, QTextBlockFormat.LineHeightTypes.ProportionalHeight.value)
        return made
