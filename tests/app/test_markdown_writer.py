"""What Markdown becomes in a document, and what never gets into one."""

import pytest
from PySide6.QtGui import QFont, QTextCursor, QTextDocument

from app.contrast import TEXT_RATIO, contrast_ratio
from app.theme import Theme
from app.widgets.links import safe_link, shown_address
from app.widgets.markdown_blocks import BlockSplitter
from app.widgets.markdown_writer import CodeSpan, MarkdownWriter, QuoteSpan
from app.widgets.sealed_document import SealedDocument


class Page:
    """A document with some Markdown written to it."""

    def __init__(self, markdown: str, theme: Theme | None = None) -> None:
        splitter = BlockSplitter()
        writer = MarkdownWriter(theme or Theme.light())
        self.document = SealedDocument()
        blocks = splitter.append(markdown) + splitter.finish()
        self.spans = [span for block in blocks for span in writer.write(self.document, block)]
        self.document.size()  # lays it out, which is when Qt would load something

    @property
    def text(self) -> str:
        return self.document.toPlainText().strip()

    def fragments(self):
        block = self.document.begin()
        while block.isValid():
            inside = block.begin()
            while not inside.atEnd():
                yield inside.fragment()
                inside += 1
            block = block.next()

    def format_of(self, text: str):
        return next(each.charFormat() for each in self.fragments() if text in each.text())

    def block_with(self, text: str):
        return self.document.find(text).block()


@pytest.fixture(autouse=True)
def _app(qapp):
    pass


def test_inline_styles():
    page = Page("a **bold** _it_ ~~gone~~ `code` __strong__ snake_case_name")
    assert page.text == "a bold it gone code strong snake_case_name"
    assert page.format_of("bold").fontWeight() == QFont.Weight.DemiBold
    assert page.format_of("strong").fontWeight() == QFont.Weight.DemiBold
    assert page.format_of("it").fontItalic()
    assert page.format_of("gone").fontStrikeOut()
    assert page.format_of("code").fontFixedPitch()
    assert not any(each.charFormat().fontUnderline() for each in page.fragments())


def test_headings_shrink_with_their_level():
    page = Page("# One\n\n## Two\n\nplain\n")
    assert page.format_of("One").fontPointSize() > page.format_of("Two").fontPointSize()
    assert page.block_with("Two").blockFormat().headingLevel() == 2


def test_lists_are_numbered_and_nested():
    page = Page("3. a\n3. b\n   - c\n")
    numbers = [page.block_with(text).textList().itemText(page.block_with(text)) for text in "ab"]
    assert numbers == ["3.", "4."]
    assert page.block_with("c").textList().format().indent() == 2


def test_line_breaks_are_kept():
    assert Page("STOP\nExit 5  \nEnd").text == "STOP\nExit 5\nEnd"
    assert Page("- a  \n  b\n- c").text == "a\nb\nc"
    assert Page("- a  \n  b").document.blockCount() == 2


def test_table_has_a_header_and_alignment():
    page = Page("before\n\n| a | b |\n|---|--:|\n| 1 | **2** |\n\nafter")
    table = QTextCursor(page.block_with("2")).currentTable()
    assert (table.rows(), table.columns(), table.format().headerRowCount()) == (2, 2, 1)
    assert page.block_with("2").blockFormat().alignment().value & 2
    assert page.text.split("\n")[0] == "before"
    assert page.text.endswith("after")


def test_code_is_coloured_and_can_be_copied():
    page = Page("```python\ndef f():\n\n    return 'x'  # y\n```\ntext")
    (span,) = page.spans
    assert isinstance(span, CodeSpan)
    assert (span.language, span.code) == ("python", "def f():\n\n    return 'x'  # y")
    assert page.document.findBlockByNumber(span.first).text() == "def f():"
    assert page.document.findBlockByNumber(span.last).text() == "    return 'x'  # y"
    assert page.format_of("def").foreground() != page.format_of("'x'").foreground()


def test_code_in_a_list_item_is_a_code_block_too():
    page = Page("1. Do:\n   ```sh\n   ls\n   ```\n")
    (span,) = page.spans
    assert (span.language, span.code) == ("sh", "ls")
    assert page.document.findBlockByNumber(span.first).blockFormat().indent() == 1


@pytest.mark.parametrize("language", ["", "no-such-language", "<b>", "py\x00"])
def test_unknown_languages_are_plain(language):
    page = Page(f"```{language}\nif x: y\n```")
    assert len({each.charFormat().foreground().color().name() for each in page.fragments()}) == 1
    assert page.text == "if x: y"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_code_colours_can_be_read(theme):
    theme = getattr(Theme, theme)()
    page = Page("```python\n@a\nclass B(C):\n    'd'\n    x = 1 + f(None)  # e\n```\n```diff\n-a\n+b\n```", theme)
    for fragment in page.fragments():
        colour = fragment.charFormat().foreground().color().name()
        assert contrast_ratio(colour, theme.code_background) >= TEXT_RATIO, fragment.text()


def test_quotes_are_marked():
    page = Page("> a\n>> b")
    assert [type(span) for span in page.spans] == [QuoteSpan, QuoteSpan]


ATTACKS = [
    "<img src=file:///etc/passwd>",
    '<img src="http://evil.example/x.png">',
    "![x](http://evil.example/x.png)",
    "![x](file:///etc/passwd)",
    "![x](data:image/png;base64,iVBORw0KGgo=)",
    "![x][r]\n[r]: file:///etc/passwd",
    "<script>alert(1)</script>",
    "<style>@import url(http://evil.example/a.css); p { background: url(file:///etc/passwd) }</style>",
    '<p style="background-image: url(http://evil.example/x.png)">x</p>',
    '<a href="file:///etc/passwd">x</a>',
    "[x](javascript:alert(1))",
    "<javascript:alert(1)>",
    "[x](file:///etc/passwd)",
    "[x](data:text/html,<b>y</b>)",
    "[x](vbscript:x) [y](smb://host/share) [z](qrc:/x)",
    "# <img src=file:///etc/passwd>",
    "- <img src=file:///etc/passwd>",
    "> ![x](file:///etc/passwd)",
    "| ![x](file:///etc/passwd) |\n|---|\n| <img src=file:///etc/passwd> |",
    "```html\n<img src=file:///etc/passwd>\n```",
    "&lt;img src=file:///etc/passwd&gt;",
    "<!DOCTYPE html><html><body><img src=file:///etc/passwd></body></html>",
    "<link rel=stylesheet href=http://evil.example/a.css>",
]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("around", ["{}", "text {} text", "{}\n\nnext paragraph"])
def test_nothing_is_ever_loaded(attack, around):
    page = Page(around.format(attack))
    assert page.document.refused == []
    for fragment in page.fragments():
        style = fragment.charFormat()
        assert not style.isImageFormat()
        assert not style.isAnchor() or safe_link(style.anchorHref()) is not None
        assert "\ufffc" not in fragment.text()


@pytest.mark.parametrize("attack", [each for each in ATTACKS if each.startswith("<") and "javascript" not in each])
def test_markup_is_shown_as_text(attack):
    assert attack in Page(attack).text


def test_markup_in_code_is_shown_as_text():
    assert Page("```html\n<img src=file:///a>\n```").text == "<img src=file:///a>"


def test_pictures_are_shown_by_their_address():
    assert Page("![a cat](http://x.example/a.png)").text == "[a cat] (http://x.example/a.png)"
    assert Page("![](file:///etc/passwd)").text == "[picture] (file:///etc/passwd)"


def test_a_sealed_document_refuses_what_asks_to_be_loaded(tmp_path):
    document = SealedDocument()
    document.setHtml(f'<img src="{(tmp_path / "a.png").as_uri()}">')
    document.size()
    assert document.refused
    assert isinstance(document, QTextDocument)


def test_links_show_their_address_once():
    assert Page("[docs](https://example.org/a)").text == "docs (https://example.org/a)"
    assert Page("https://example.org/a").text == "https://example.org/a"
    assert Page("[https://bank.example](https://evil.example)").text == "https://bank.example (https://evil.example)"
    assert Page("[x](javascript:alert)").text == "x (javascript:alert)"


@pytest.mark.parametrize(
    ("address", "is_safe"),
    [
        ("https://example.org", True),
        ("HTTP://example.org", True),
        ("mailto:a@example.org", True),
        ("http://", False),
        ("https:example.org", False),
        ("mailto:", False),
        ("file:///etc/passwd", False),
        ("javascript:alert(1)", False),
        (" javascript:alert(1)", False),
        ("JavaScript:alert(1)", False),
        ("java\nscript:alert(1)", False),
        ("data:text/html,x", False),
        ("//example.org/x", False),
        ("x.html", False),
        ("", False),
    ],
)
def test_only_web_and_mail_addresses_are_links(address, is_safe):
    assert (safe_link(address) is not None) is is_safe


def test_a_long_address_keeps_its_true_host():
    assert shown_address("https://bank.example:x@evil.example/" + "a" * 200) == "https://evil.example/…"
    assert len(shown_address("data:text/html," + "x" * 500)) <= 60


@pytest.mark.parametrize("theme", [Theme.light, Theme.dark], ids=["light", "dark"])
def test_languages_with_kinds_of_their_own_are_coloured_too(qapp, theme):
    page = Page("```yaml\nname: Fovea\nroles: [chat]\n```", theme())
    assert page.text == "name: Fovea\nroles: [chat]"
