"""How long an answer of some thousand characters takes to be laid out when it comes token by token.

    python benchmarks/markdown.py [characters]

Prints, for several kinds of text, the processor seconds to split it and to render it into documents.
"""

import os
import sys
import time

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtGui import QTextDocument
from PySide6.QtWidgets import QApplication

from app.theme import Theme
from app.widgets.markdown_blocks import BlockSplitter
from app.widgets.markdown_tail import LiveTail
from app.widgets.markdown_writer import MarkdownWriter

TOKEN = 4
TEXTS = {
    "mixed": "## Heading\n\nSome *text* with `code`, a [link](https://example.org) and more words.\n\n"
    "- one item\n- another **item**\n\n```python\ndef add(a, b):\n    return a + b  # sum\n```\n\n"
    "| a | b |\n|---|---|\n| 1 | 2 |\n\n",
    "one paragraph": "words that go *on* and on, ",
    "one list": "- an item with `code` in it\n",
    "one table": "| name | value | unit |\n",
    "one code block": "value = compute(1, 'two')  # three\n",
}
STARTS = {"one table": "| a | b | c |\n|---|---|---|\n", "one code block": "```python\n"}


def make_text(kind: str, characters: int) -> str:
    piece = TEXTS[kind]
    return STARTS.get(kind, "") + piece * (characters // len(piece) + 1)


def stream_into_documents(text: str, theme: Theme) -> tuple[float, int]:
    """Processor seconds, and how many characters were rendered."""
    writer, committed, live = MarkdownWriter(theme), QTextDocument(), QTextDocument()
    splitter, tail = BlockSplitter(), LiveTail(live, writer)
    rendered = 0
    start = time.process_time()
    for position in range(0, len(text), TOKEN):
        for block in splitter.append(text[position : position + TOKEN]):
            writer.write(committed, block)
            rendered += len(block.source)
        tail.show(splitter.tail_blocks())
    return time.process_time() - start, rendered + tail.rendered_characters


def main() -> None:
    characters = int(sys.argv[1]) if len(sys.argv) > 1 else 6000
    app = QApplication([])
    theme = Theme.light()
    theme.apply(app)
    stream_into_documents(make_text("mixed", 200), theme)
    for kind in TEXTS:
        seconds, rendered = stream_into_documents(make_text(kind, characters), theme)
        print(f"{kind:16} {seconds:6.3f} s  {rendered / characters:6.1f} characters rendered for each one")


if __name__ == "__main__":
    main()
