"""Web pages that may ask, as they are typed."""

import pytest

from app.state.origins import read_origins


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ()),
        ("  ", ()),
        ("http://localhost:3000", ("http://localhost:3000",)),
        ("http://localhost:3000/", ("http://localhost:3000",)),
        ("HTTPS://Chat.Example", ("https://chat.example",)),
        (
            "http://a.test, http://b.test;http://a.test\nhttp://[::1]:80",
            ("http://a.test", "http://b.test", "http://[::1]:80"),
        ),
    ],
)
def test_origins_are_found(text, found):
    origins = read_origins(text)
    assert (origins.found, origins.problem) == (found, "")


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "http://*.example.com",
        "localhost:3000",
        "null",
        "file:///tmp",
        "http://",
        "http://a.test/path",
        "http://a.test?x",
        "http://user@a.test",
        "http://a.test:99999",
        "http://a.test http://b.test/x",
        "javascript:alert(1)",
    ],
)
def test_anything_else_is_told(text):
    origins = read_origins(text)
    assert origins.found == ()
    assert origins.problem
