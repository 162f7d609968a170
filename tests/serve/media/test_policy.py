"""A request as it goes on to the engine: bytes wherever it referred to media, and everything else as it was."""

import asyncio
import base64
import struct
import zlib

import pytest

from engine.api.errors import MediaError, RequestError
from engine.api.events import Failed, Finished
from engine.api.request import (
    Audio,
    CountTokens,
    GenerateRequest,
    Image,
    LoadModel,
    Message,
    RenderedPrompt,
    Role,
    Text,
    Video,
)
from engine.api.settings import EngineSettings, MediaLimits
from engine.host import EngineHost
from engine.serve.media.policy import MediaPolicy
from engine.serve.settings import MediaRules
from tests.recording import ask
from tests.serve.media.web import PICTURE, asking, png, policy, settled

CARRIED = f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"


def settle(request, **rules):
    return asyncio.run(MediaPolicy(MediaRules(**rules)).settle(request))


def test_a_request_without_media_is_the_same_one():
    request = asking()
    assert settle(request) is request


def test_media_are_put_where_they_were_named():
    clip = Video(CARRIED.replace("image/png", "video/mp4"), fps=2.0, max_frames=3)
    sound = Audio(CARRIED.replace("image/png", "audio/wav"), name="a song")
    request = GenerateRequest(
        (
            Message(Role.SYSTEM, (Text("Look."),)),
            Message(Role.USER, (Image(CARRIED), Text("and"), clip)),
            Message(Role.USER, (sound, Image(PICTURE))),
        ),
        max_tokens=5,
        tenant="t",
    )
    found = settle(request)
    assert found.prompt == (
        request.prompt[0],
        Message(Role.USER, (Image(PICTURE, "image 1"), Text("and"), Video(PICTURE, "video 2", fps=2.0, max_frames=3))),
        Message(Role.USER, (Audio(PICTURE, "a song"), Image(PICTURE, "image 4"))),
    )
    assert (found.max_tokens, found.tenant) == (5, "t")


@pytest.mark.parametrize("kind", [GenerateRequest, CountTokens])
def test_a_rendered_prompt_is_settled_too(kind):
    found = settle(kind(RenderedPrompt("<image>", (Image(CARRIED),))))
    assert found == kind(RenderedPrompt("<image>", (Image(PICTURE, "image 1"),)))


def test_so_many_media_and_no_more():
    assert settled(MediaPolicy(MediaRules(max_items=2)), *[Image(CARRIED)] * 2) == [PICTURE] * 2
    with pytest.raises(RequestError) as error:
        settled(MediaPolicy(MediaRules(max_items=2)), *[Image(CARRIED)] * 3)
    assert error.value.code == "too_many_media"


@pytest.mark.parametrize("limits", [{"max_bytes": len(PICTURE) - 1}, {"max_total_bytes": len(PICTURE) - 1}])
def test_bytes_are_held_to_the_same_sizes(limits):
    with pytest.raises(MediaError) as error:
        settled(MediaPolicy(MediaRules(**limits)), Image(PICTURE))
    assert error.value.code == "media_too_large"


def test_a_clip_may_be_larger_than_a_picture():
    rules = MediaRules(max_bytes=len(PICTURE) - 1, max_clip_bytes=len(PICTURE))
    assert settled(MediaPolicy(rules), Video(PICTURE)) == [PICTURE]


def test_different_media_count_together_and_the_same_one_once():
    other = base64.b64encode(png((5, 3))).decode()
    parts = Image(CARRIED), Image(CARRIED), Image(f"data:image/png;base64,{other}")
    room = len(PICTURE) + len(png((5, 3)))
    assert len(settled(MediaPolicy(MediaRules(max_total_bytes=room)), *parts)) == 3
    with pytest.raises(MediaError) as error:
        settled(MediaPolicy(MediaRules(max_total_bytes=room - 1)), *parts)
    assert error.value.code == "media_too_large"


def test_the_same_bytes_said_to_be_another_kind_are_judged_anew():
    with pytest.raises(MediaError, match="video 2"):
        settled(MediaPolicy(MediaRules()), Image(CARRIED), Video(CARRIED))


ELSE = ("javascript:alert(1)", "iVBORw0KGgo", "picture.png", "", "s3://bucket/a.png", "\\\\host\\a")


@pytest.mark.parametrize("source", ELSE)
def test_whatever_else_is_refused_without_saying_it(source):
    with pytest.raises(MediaError) as error:
        settled(policy(folders=()), Image(source))
    assert not source or source not in str(error.value)


# ---- what is too much to be decoded, through the whole engine


def claims(width, height):
    """A small file that says it is a large picture, and that is one: all black."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(b"\0" * (1 + width // 8)) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def seeing(tiny_smolvlm):
    with EngineHost(EngineSettings(media=MediaLimits(max_images=2, max_pixels=1_000_000))) as host:
        assert isinstance(ask(host.client, LoadModel(str(tiny_smolvlm))).end(), Finished)
        yield host.client


def answered(client, *sources, max_tokens=2):
    request = GenerateRequest(asking(*map(Image, sources)).prompt, max_tokens=max_tokens)
    return ask(client, settle(request)).end()


def test_a_small_file_of_a_huge_picture_is_refused_before_it_is_decoded(seeing, monkeypatch):
    from PIL.PngImagePlugin import PngImageFile

    decoded = []
    load = PngImageFile.load
    monkeypatch.setattr(PngImageFile, "load", lambda self: (decoded.append(self.size), load(self))[1])
    bomb = claims(20_000, 20_000)
    assert len(bomb) < 100_000
    failed = answered(seeing, f"data:image/png;base64,{base64.b64encode(bomb).decode()}")
    assert isinstance(failed, Failed)
    assert (failed.code, "pixels" in failed.message, decoded) == ("bad_media", True, [])
    assert isinstance(answered(seeing, CARRIED), Finished)
    assert decoded


def test_more_pictures_than_the_engine_takes_are_refused_before_they_are_decoded(seeing):
    assert answered(seeing, *[CARRIED] * 3).code == "too_many_images"


def test_what_only_claims_to_be_a_picture_is_told_by_its_number(seeing):
    failed = answered(seeing, CARRIED, f"data:image/png;base64,{base64.b64encode(b'<svg/>').decode()}")
    assert (failed.code, "image 2" in failed.message) == ("bad_media", True)
