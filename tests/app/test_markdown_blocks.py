"""The splitter: what a block is, and that chunking never changes anything."""

import random

import pytest

from app.widgets.markdown_blocks import Block, BlockKind, BlockSplitter

DOCUMENT = """# What I see

A **red** ball on a
wooden floor.

Setext
------

1. First
2. Second
   with more

   - nested
   - ```sh
     ls
     ```
7. Third

- [x] done
* other list

> quoted
> lines
lazy

| a | b |
|---|:-:|
| 1 | 2 |
| 3 | 4 |

```python
def f():

    return "- not a list"
```
~~~
tilde ``` inside
~~~

    indented code

    goes on

---
***bold italic*** end
    no code here
"""


def split_in_chunks(text: str, cuts: list[int]) -> tuple[list[Block], str]:
    splitter = BlockSplitter()
    blocks: list[Block] = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        blocks += splitter.append(text[start:end])
        assert "".join(block.source for block in blocks) + splitter.tail == text[:end]
    return blocks + splitter.finish(), splitter.tail


def split(text: str) -> list[Block]:
    return split_in_chunks(text, [])[0]


def kinds(text: str) -> list[BlockKind]:
    return [block.kind for block in split(text)]


def test_kinds_of_a_whole_document():
    kind = BlockKind
    assert kinds(DOCUMENT) == [
        *(kind.HEADING, kind.PARAGRAPH, kind.HEADING),
        *(kind.LIST_ITEM,) * 5,
        *(kind.QUOTE, kind.TABLE, kind.CODE, kind.CODE, kind.CODE, kind.RULE, kind.PARAGRAPH),
    ]


@pytest.mark.parametrize("seed", range(30))
def test_chunking_changes_nothing(seed):
    chance = random.Random(seed)
    pieces = [piece + "\n" for piece in DOCUMENT.split("\n")] + [
        "``",
        "`",
        "-",
        " ",
        "|",
        ">",
        "1.",
        "\n",
        "\t",
        "é\u2028",
    ]
    text = "".join(chance.choices(pieces, k=40)) if seed else DOCUMENT
    whole, rest = split_in_chunks(text, [])
    assert "".join(block.source for block in whole) + rest == text
    assert rest.strip() == ""
    cuts = sorted(chance.choices(range(len(text) + 1), k=60))
    assert split_in_chunks(text, cuts) == (whole, rest)
    assert split_in_chunks(text, list(range(1, len(text)))) == (whole, rest)


def test_a_committed_block_is_never_taken_back():
    splitter = BlockSplitter()
    committed = [block for character in DOCUMENT for block in splitter.append(character)]
    assert committed + splitter.finish() == split(DOCUMENT)


def test_tail_blocks_show_what_is_open_without_closing_it():
    splitter = BlockSplitter()
    splitter.append("intro\n\n```py\nx = 1\n")
    (tail,) = splitter.tail_blocks()
    assert (tail.kind, tail.language, tail.code) == (BlockKind.CODE, "py", "x = 1\n")
    (done,) = splitter.append("y = 2\n```\n")
    assert done.code == "x = 1\ny = 2"
    assert splitter.tail_blocks() == []


def test_tail_blocks_part_a_paragraph_from_what_interrupts_it():
    splitter = BlockSplitter()
    assert splitter.append("text\n## He") == []
    assert [block.kind for block in splitter.tail_blocks()] == [BlockKind.PARAGRAPH, BlockKind.HEADING]


@pytest.mark.parametrize(
    ("source", "language", "code"),
    [
        ("```py\na\n\nb\n```\n", "py", "a\n\nb"),
        ("``` c++ title\na\n```", "c++", "a"),
        ("~~~\n```\n~~~\n", "", "```"),
        ("````md\n```\n````\n", "md", "```"),
        ("  ```py\n  a\n    b\n c\n  ```\n", "py", "a\n  b\nc"),
        ("    a\n      b\n\n", "", "a\n  b"),
        ("```py\r\na\r\n```\r\n", "py", "a"),
        ("```\n```\n", "", ""),
        ("```html\n<script>\u2028x</script>\n```\n", "html", "<script>\u2028x</script>"),
    ],
)
def test_code_without_its_fences(source, language, code):
    (block,) = split(source)
    assert block.kind is BlockKind.CODE
    assert (block.language, block.code) == (language, code)


def test_ordered_items_are_counted_from_the_first():
    numbers = [block.number for block in split("3. a\n3. b\n9. c\n\ntext\n\n1) d\n")]
    assert numbers == [3, 4, 5, None, 1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\n- b\n", [BlockKind.PARAGRAPH, BlockKind.LIST_ITEM]),
        ("a\n2. b\n", [BlockKind.PARAGRAPH]),
        ("a\n-\n", [BlockKind.HEADING]),
        ("* * *\n", [BlockKind.RULE]),
        ("#hashtag\n", [BlockKind.PARAGRAPH]),
        ("a|b\n-|-\n1|2\n", [BlockKind.TABLE]),
        ("a|b\n-|-|-\n", [BlockKind.PARAGRAPH]),
        ("- a\nlazy\n\nnot lazy\n", [BlockKind.LIST_ITEM, BlockKind.PARAGRAPH]),
        ("- a\n```\nb\n```\n", [BlockKind.LIST_ITEM, BlockKind.CODE]),
        ("---\na: b\n---\nc\n", [BlockKind.RULE, BlockKind.HEADING, BlockKind.PARAGRAPH]),
        ("<div>\n\n</div>\n", [BlockKind.PARAGRAPH, BlockKind.PARAGRAPH]),
    ],
)
def test_borders_between_blocks(text, expected):
    assert kinds(text) == expected


def test_only_blank_lines_make_no_block():
    assert split("\n \n\t\n") == []
