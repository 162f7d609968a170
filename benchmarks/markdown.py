"""How long an answer of some thousand characters takes to be laid out when it comes token by token.

    python benchmarks/markdown.py [characters]

Prints, for several kinds of text, the processor seconds to split it and to render it into documents; then what an
update costs in a window with a short and with a long conversation.
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
from app.widgets.transcript import TranscriptView

TOKEN = 4
PIECE = 16
"""Characters that have come together when the window is next told, some thirty times a second."""
RUNS = 5
"""The fastest of so many counts."""
TEXTS = {
    "an answer": """## What the picture shows

The picture shows a **red ball** on a wooden floor. Behind it stands a lamp, and light falls in from a window on the
left. The label on the box reads `FRAGILE`, see [the guide](https://example.org/labels) for what it means.

1. The ball is about as wide as the box is high.
2. The floor is made of *oak*, or of something that looks like it.
3. Nobody is in the room.

```python
def area(width: float, height: float) -> float:
    # The area of a rectangle.
    return width * height


print(area(3, 4))  # twelve
```

| thing | colour | count |
|-------|--------|------:|
| ball  | red    | 1     |
| box   | brown  | 2     |

""",
    "dense markup": "Some *text* with `code`, [a link](https://x.org).\n\n- one\n- **two**\n\n```py\nx = 1\n```\n",
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


def stream_into_window(text: str, turns: int) -> float:
    """Processor milliseconds that each of the pieces a window gets costs it, in a conversation of so many turns."""
    view = TranscriptView()
    view.resize(900, 700)
    view.show()
    for _ in range(turns // 2):
        view.add_user_turn("What is this?")
        view.begin_answer()
        view.append_answer(make_text("an answer", 600))
        view.finish_answer("")
    view.begin_answer()
    QApplication.processEvents()
    start = time.process_time()
    for position in range(0, len(text), PIECE):
        view.append_answer(text[position : position + PIECE])
        QApplication.processEvents()
    spent = time.process_time() - start
    view.close()
    view.deleteLater()
    return 1000 * spent / (len(text) / PIECE)


def main() -> None:
    characters = int(sys.argv[1]) if len(sys.argv) > 1 else 6000
    app = QApplication([])
    theme = Theme.light()
    theme.apply(app)
    stream_into_documents(make_text("an answer", 700), theme)
    for kind in TEXTS:
        seconds, rendered = min(stream_into_documents(make_text(kind, characters), theme) for _ in range(RUNS))
        print(f"{kind:16} {seconds:6.3f} s  {rendered / characters:6.1f} characters rendered for each one")
    for turns in (2, 200):
        print(
            f"{turns:3} turns before: {stream_into_window(make_text('an answer', characters), turns):.1f} ms an update"
        )


if __name__ == "__main__":
    main()
