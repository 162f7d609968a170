"""Draws the pictures the media tests read: two halves of known colour, and files made by hand."""

import io
import struct
import zlib

from PIL import Image

from engine.api.request import Image as Part
from engine.api.settings import MediaLimits
from engine.models.media.picture import Picture, open_picture


def halves(left, right, mode="RGB", size=(16, 8)) -> Image.Image:
    """Left half one colour, right half another."""
    image = Image.new(mode, size, left)
    image.paste(right, (size[0] // 2, 0, size[0], size[1]))
    return image


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def opened(source, **limits) -> Picture:
    return open_picture(Part(source), MediaLimits(**limits))


def left_and_right(picture: Picture) -> tuple:
    """The colours in the middle of both halves."""
    image = picture.image
    assert image.mode == "RGB"
    return image.getpixel((image.width // 4, image.height // 2)), image.getpixel(
        (image.width * 3 // 4, image.height // 2)
    )


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG by hand: `rows` are the filtered scan lines, `extra` whole chunks before them."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
