"""Colours for source code: which stretch of it is a keyword, a string, a comment.

Knows nothing of documents; yields text and character formats in order.
"""

from collections.abc import Iterator
from itertools import groupby

from pygments.lexer import Lexer
from pygments.token import _TokenType
from PySide6.QtGui import QColor, QFont, QTextCharFormat

from app.contrast import make_readable
from app.theme import Theme

_LONGEST = 20_000
"""Characters; colouring more would be felt."""


class CodeColours:
    def __init__(self, theme: Theme, plain: QTextCharFormat) -> None:
        self._theme = theme
        self._plain = plain
        self._formats: dict[_TokenType, QTextCharFormat] = {}
        self._lexers: dict[str, Lexer | None] = {}

    def stretches(self, code: str, language: str) -> Iterator[tuple[str, QTextCharFormat]]:
        """`code` in pieces, each with its format; in one piece where the language is unknown."""
        lexer = self._lexer(language) if len(code) <= _LONGEST else None
        if lexer is None:
            yield code, self._plain
            return
        for kind, tokens in groupby(lexer.get_tokens(code), key=lambda token: token[0]):
            yield "".join(value for _, value in tokens), self._format(kind)

    def _lexer(self, language: str) -> Lexer | None:
        from pygments.lexers import get_lexer_by_name  # costs more than the rest of the window's imports
        from pygments.util import ClassNotFound

        if language not in self._lexers:
            try:
                lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False) if language else None
            except ClassNotFound:
                lexer = None
            self._lexers[language] = lexer
        return self._lexers[language]

    def _format(self, kind: _TokenType) -> QTextCharFormat:
        if kind not in self._formats:
            style = self._style(kind)
            made = QTextCharFormat(self._plain)
            if style["color"]:
                colour = make_readable(f"#{style['color']}", self._theme.code_background, self._theme.text)
                made.setForeground(QColor(colour))
            made.setFontItalic(bool(style["italic"]))
            if style["bold"]:
                made.setFontWeight(QFont.Weight.DemiBold)
            self._formats[kind] = made
        return self._formats[kind]

    def _style(self, kind: _TokenType) -> dict[str, object]:
        from pygments.styles import get_style_by_name

        style = get_style_by_name(self._theme.pygments_style)
        # Some lexers have kinds of their own, such as YAML's plain scalars: then as what they are a kind of.
        while not style.styles_token(kind):
            kind = kind.parent
        return style.style_for_token(kind)
