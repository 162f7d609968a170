"""What a request carries itself: to the letter, and no more than may be."""

import base64

import pytest

from engine.api.errors import MediaError
from engine.api.request import Audio, Image, Video
from engine.serve.media import data_uri
from engine.serve.media.policy import MediaPolicy
from engine.serve.settings import MediaRules
from tests.serve.media.web import PICTURE, settled

ENCODED = base64.b64encode(PICTURE).decode()
RULES = MediaPolicy(MediaRules())


@pytest.mark.parametrize(
    "part",
    [
        Image(f"data:image/png;base64,{ENCODED}"),
        Image(f"DATA:Image/PNG;Base64,{ENCODED}"),
        Image(f"data:image/svg+xml;base64,{ENCODED}"),
        Audio(f"data:audio/webm;codecs=opus;base64,{ENCODED}"),
        Video(f"data:video/mp4;base64,{ENCODED}"),
        Video(f"data:image/gif;base64,{ENCODED}"),
    ],
)
def test_what_a_request_carries_is_let_in_by_default(part):
    assert settled(RULES, part) == [PICTURE]


@pytest.mark.parametrize(
    "uri",
    [
        "data:",
        "data:,",
        "data:image/png;base64",
        f"data:;base64,{ENCODED}",
        f"data:image;base64,{ENCODED}",
        f"data:image/png,{ENCODED}",
        "data:image/png,%89PNG",
        f"data:image/png;base64;base64,{ENCODED}",
        f"data:image/png;charset=utf-16;base64,{ENCODED}",
        f"data:image/png;CharSet=utf-7;base64,{ENCODED}",
        f"data:image/png; base64,{ENCODED}",
        f"data:image/png;base64 ,{ENCODED}",
        f"data:image/png\n;base64,{ENCODED}",
        f"data://image/png;base64,{ENCODED}",
        f"data:image/png{';x=1' * 100};base64,{ENCODED}",
        "data:image/png;base64,",
        f"data:image/png;base64,{ENCODED[:9]}\n{ENCODED[9:]}",
        f"data:image/png;base64,{ENCODED[:9]}%0A{ENCODED[9:]}",
        f"data:image/png;base64,{ENCODED}#x",
        f"data:image/png;base64,{ENCODED[:-1]}",
        "data:image/png;base64,iVBOR-_=",
        "data:image/png;base64,iVBORéé=",
    ],
)
def test_what_is_not_to_the_letter_is_refused(uri):
    with pytest.raises(MediaError) as refused:
        settled(RULES, Image(uri))
    assert "iVBOR" not in str(refused.value)


@pytest.mark.parametrize(
    "part",
    [
        Image(f"data:text/html;base64,{ENCODED}"),
        Image(f"data:audio/wav;base64,{ENCODED}"),
        Image(f"data:application/octet-stream;base64,{ENCODED}"),
        Audio(f"data:image/png;base64,{ENCODED}"),
        Video(f"data:image/png;base64,{ENCODED}"),
    ],
)
def test_the_media_type_has_to_fit(part):
    with pytest.raises(MediaError, match="said to be something else"):
        settled(RULES, part)


@pytest.mark.parametrize("beyond", [0, 1, 2, 3])
def test_the_size_is_held_to_the_byte(beyond):
    rules = MediaPolicy(MediaRules(max_bytes=len(PICTURE)))
    data = PICTURE + b"x" * beyond
    part = Image(f"data:image/png;base64,{base64.b64encode(data).decode()}")
    if not beyond:
        assert settled(rules, part) == [data]
        return
    with pytest.raises(MediaError) as refused:
        settled(rules, part)
    assert refused.value.code == "media_too_large"


def test_what_is_too_large_is_not_decoded(monkeypatch):
    def decode(*arguments, **options):
        raise AssertionError("it was decoded")

    monkeypatch.setattr(data_uri.base64, "b64decode", decode)
    with pytest.raises(MediaError) as refused:
        settled(MediaPolicy(MediaRules(max_bytes=1000)), Image(f"data:image/png;base64,{'A' * 2000}"))
    assert refused.value.code == "media_too_large"
    with pytest.raises(MediaError) as refused:
        settled(MediaPolicy(MediaRules(max_total_bytes=1000)), Image(f"data:image/png;base64,{'A' * 2000}"))
    assert refused.value.code == "media_too_large"
