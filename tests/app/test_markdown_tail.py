"""The live tail: shows what a whole rendering would show, at a cost that is linear in the text."""

import pytest
from PySide6.QtGui import QTextDocument

from app.theme import Theme
from app.widgets.markdown_blocks import BlockSplitter
from app.widgets.markdown_tail import LiveTail
from app.widgets.markdown_writer import MarkdownWriter

TOKEN = 4
TEXTS = {
    "mixed": "## Heading\n\nSome *text* with `code`, [a link](https://example.org).\n\n- item\n- **more**\n\n"
    "```py\nx = f(1)\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n",
    "paragraph": "words that go *on* and on, ",
    "list": "- an item with `code` in it\n",
    "table": "| name | value | unit |\n",
    "code": "value = compute(1, 'two')  # three\n",
    "quote": "> said *someone* once\n",
}
STARTS = {"table": "| a | b | c |\n|---|---|---|\n", "code": "```python\n"}


@pytest.fixture
def writer(qapp) -> MarkdownWriter:
    return MarkdownWriter(Theme.light())


def make_text(kind: str, characters: int) -> str:
    return (STARTS.get(kind, "") + TEXTS[kind] * (characters // len(TEXTS[kind]) + 1))[:characters]


def stream(text: str, writer: MarkdownWriter) -> int:
    """How many characters are rendered on the way."""
    splitter, committed, tail = BlockSplitter(), QTextDocument(), LiveTail(QTextDocument(), writer)
    rendered = 0
    for position in range(0, len(text), TOKEN):
        for block in splitter.append(text[position : position + TOKEN]):
            writer.write(committed, block)
            rendered += len(block.source)
        tail.show(splitter.tail_blocks())
    return rendered + tail.rendered_characters


@pytest.mark.parametrize("kind", TEXTS)
def test_work_is_linear(kind, writer):
    once, twice = stream(make_text(kind, 3000), writer), stream(make_text(kind, 6000), writer)
    assert twice < 2.3 * once
    assert twice < 20 * 6000


@pytest.mark.parametrize(
    "text",
    [
        "Plain words, one after the other, and so on.",
        "It is **bold** and *slanted* text with `code` in it, then more words",
        "See www.example.org and https://example.org/a_b_c or [this](https://x.example) now",
        "- item one is long enough\n- item **two** too",
        "## A heading with words",
        "> quoted words go on and on",
        "snake_case_words and _emphasis that_ends here",
        "```py\ndef f(x):\n    return x\n```\n",
        "a line\nanother line\n1. list at once\n",
        "ends with space \nand goes on",
        "Entities &amp; &lt;b&gt; here",
    ],
)
def test_the_tail_looks_like_a_whole_rendering(text, writer):
    splitter, live = BlockSplitter(), QTextDocument()
    tail = LiveTail(live, writer)
    for end in range(1, len(text) + 1):
        splitter.append(text[end - 1])
        blocks = splitter.tail_blocks()
        tail.show(blocks)
        whole = QTextDocument()
        LiveTail(whole, writer).show(blocks)
        assert live.toPlainText().rstrip() == whole.toPlainText().rstrip(), text[:end]


def test_a_closing_fence_is_never_shown_as_code(writer):
    live = QTextDocument()
    splitter, tail = BlockSplitter(), LiveTail(live, writer)
    for character in "```py\nx = 1\n```":
        splitter.append(character)
        tail.show(splitter.tail_blocks())
        if "x" in live.toPlainText():
            assert "`" not in live.toPlainText()


def test_long_code_is_coloured_while_it_grows(writer):
    live = QTextDocument()
    splitter, tail = BlockSplitter(), LiveTail(live, writer)
    for line in ["```python\n", *["value = 'text'  # note\n"] * 100]:
        splitter.append(line)
        tail.show(splitter.tail_blocks())
    middle = live.findBlockByNumber(50).begin()
    colours = set()
    while not middle.atEnd():
        colours.add(middle.fragment().charFormat().foreground().color().name())
        middle += 1
    assert len(colours) >= 3
    assert live.toPlainText().count("value") == 100
