"""What is refused, before it can do harm, and in words a person can act on."""

import contextlib
import os
import time
import tracemalloc

import pytest

from engine.api.errors import Fault, MediaError
from engine.api.media_format import PictureFormat, picture_format
from engine.models.media.signature import describe
from tests.media.drawing import encoded, halves, opened, png

IMAGE = halves((255, 0, 0), (0, 0, 255), size=(64, 64))


def refusal(source, **limits) -> MediaError:
    with pytest.raises(MediaError) as caught:
        opened(source, **limits)
    error = caught.value
    assert error.fault is Fault.USER
    assert error.hint
    return error


def test_no_such_file(tmp_path):
    path = tmp_path / "cat.png"
    for source in (path, str(path)):
        assert str(path) in refusal(source).message


def test_impossible_paths():
    assert "name too long" in refusal("iVBORw0KGgo" * 400).message.lower()
    assert refusal("a\0b").message


def test_folder(tmp_path):
    assert refusal(tmp_path).message == f"{tmp_path.name} is a folder."


def test_pipe_is_not_waited_for(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert "not an ordinary file" in refusal(path).message


def test_empty(tmp_path):
    path = tmp_path / "nothing.jpg"
    path.touch()
    for source in (path, b"", "data:image/png;base64,"):
        assert "empty" in refusal(source).message


@pytest.mark.parametrize("url", ["https://example.org/cat.png", "http://example.org/cat.png", "ftp://example.org/c"])
def test_addresses_are_named_and_not_fetched(url):
    assert url in refusal(url).message


@pytest.mark.parametrize(
    "uri",
    ["data:image/png;base64,!!!!", "data:image/png;base64,abcde", "data:image/png;base64,QUJ=D", "data:image/png"],
)
def test_wrong_data_uri(uri):
    assert "data: URI" in refusal(uri).message


NOT_PICTURES = {
    b"%PDF-1.7\n": "a PDF document",
    b"%!PS-Adobe-3.0 EPSF-3.0\n": "a PostScript document",
    b"PK\x03\x04\x14\0": "a ZIP archive",
    b"<?xml version='1.0'?><svg xmlns='x'/>": "an SVG drawing",
    b"<!DOCTYPE html><html>": "a web page",
    b"dear diary": "a text file",
    "liebes Tagebuch, schön".encode(): "a text file",
    b"RIFF\0\0\0\0WAVEfmt ": "a WAV recording",
    b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom": "an MP4 or QuickTime video",
    b"\x80\x04\x95garbage\0": "some other binary file",
}


@pytest.mark.parametrize("data", NOT_PICTURES)
def test_not_a_picture_says_what_it_seems_to_be(data, tmp_path):
    path = tmp_path / "holiday.jpg"
    path.write_bytes(data)
    error = refusal(path)
    assert NOT_PICTURES[data] in error.message
    assert "PNG" in error.hint
    assert picture_format(data) is None
    assert describe(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_truncated(kind):
    data = encoded(IMAGE, kind)
    for kept in (len(data) * 2 // 3, 40, 13):
        error = refusal(data[:kept])
        if kept > 13:
            assert PictureFormat[kind].value in error.message


def test_bomb_is_refused_by_its_header(tmp_path):
    """30,000 x 30,000 pixels in a few kilobytes."""
    rows = b"\0" * (1 + 30_000 // 8)
    path = tmp_path / "bomb.png"
    path.write_bytes(png(30_000, 30_000, 1, 0, rows * 2000))
    assert path.stat().st_size < 16_000
    tracemalloc.start()
    started = time.perf_counter()
    error = refusal(path)
    seconds = time.perf_counter() - started
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "30,000 x 30,000" in error.message
    assert "100,000,000" in error.message
    assert seconds < 0.1
    assert peak < 2_000_000


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_too_many_pixels_in_every_format(kind):
    assert "64 x 64" in refusal(encoded(IMAGE, kind), max_pixels=4095).message
    assert opened(encoded(IMAGE, kind), max_pixels=4096).original_size == (64, 64)


def test_too_many_bytes_are_not_read(tmp_path):
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(1 << 33)
    started = time.perf_counter()
    assert "8,589,934,592" in refusal(path).message
    assert time.perf_counter() - started < 0.1
    data = encoded(IMAGE, "PNG")
    assert "bytes" in refusal(data, max_bytes=len(data) - 1).message
    assert opened(data, max_bytes=len(data)).image.size == (64, 64)
    assert "bytes" in refusal("data:image/png;base64," + "A" * 4000, max_bytes=100).message
    assert "bytes" in refusal("data:image/png," + "%41" * 4000, max_bytes=100).message


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_damage_is_a_media_error_or_a_picture(kind):
    """Every byte of the header turned over, one at a time: nothing but `MediaError` ever comes out."""
    data = bytearray(encoded(IMAGE, kind))
    survived = 0
    for at in range(min(len(data), 400)):
        for change in (0xFF, 0x01):
            data[at] ^= change
            with contextlib.suppress(MediaError):
                opened(bytes(data), max_pixels=1_000_000)
                survived += 1
            data[at] ^= change
    assert survived < 2 * min(len(data), 400)
