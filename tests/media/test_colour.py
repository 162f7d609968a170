"""Every pixel format gives the colours it means."""

import struct

import numpy as np
import pytest
from PIL import Image

from engine.models.media.colour import to_rgb
from tests.media.drawing import chunk, encoded, halves, left_and_right, opened, png

RED, BLUE, WHITE, BLACK = (255, 0, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def near(got, expected, tolerance=3) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(got, expected, strict=True))


def test_palette_keeps_its_colours():
    image = halves(RED, BLUE).quantize(4)
    assert left_and_right(opened(encoded(image, "PNG"))) == (RED, BLUE)


@pytest.mark.parametrize("transparency", [0, bytes([0, 255])])
def test_transparent_palette_entry_becomes_white(transparency):
    image = Image.new("P", (16, 8), 0)
    image.putpalette([0, 0, 0, *BLUE])
    image.paste(1, (8, 0, 16, 8))
    data = encoded(image, "PNG", transparency=transparency)
    assert left_and_right(opened(data)) == (WHITE, BLUE)


def test_transparent_gif_becomes_white():
    image = Image.new("P", (16, 8), 0)
    image.putpalette([0, 0, 0, *BLUE])
    image.paste(1, (8, 0, 16, 8))
    assert left_and_right(opened(encoded(image, "GIF", transparency=0))) == (WHITE, BLUE)


def test_half_transparent_is_mixed_with_white():
    image = halves((255, 0, 0, 128), (0, 0, 255, 0), "RGBA")
    assert left_and_right(opened(encoded(image, "PNG"))) == ((255, 127, 127), WHITE)


def test_grey_with_alpha():
    image = halves((0, 255), (0, 0), "LA")
    assert left_and_right(opened(encoded(image, "PNG"))) == (BLACK, WHITE)


def test_palette_with_alpha_channel():
    image = halves((255, 0, 0, 255), (0, 0, 255, 0), "RGBA").convert("PA")
    assert image.mode == "PA"
    rgb = to_rgb(image)
    assert near(rgb.getpixel((2, 2)), RED, 60)
    assert rgb.getpixel((12, 2)) == WHITE


def test_premultiplied_alpha():
    image = halves((255, 0, 0, 255), (0, 0, 0, 0), "RGBA").convert("RGBa")
    assert to_rgb(image).getpixel((2, 2)) == RED
    assert to_rgb(image).getpixel((12, 2)) == WHITE


def test_colour_key_of_a_true_colour_png():
    data = encoded(halves(RED, BLUE), "PNG", transparency=RED)
    assert left_and_right(opened(data)) == (WHITE, BLUE)


def test_one_bit():
    assert left_and_right(opened(encoded(halves(0, 1, "1"), "PNG"))) == (BLACK, WHITE)


def test_grey():
    assert left_and_right(opened(encoded(halves(10, 200, "L"), "PNG"))) == ((10,) * 3, (200,) * 3)


def sixteen_bits(*values: int) -> Image.Image:
    row = np.repeat(np.array(values, np.uint16), 8)
    return Image.fromarray(np.tile(row, (8, 1)))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_clipped(kind):
    image = sixteen_bits(0x4000, 0xC0FF)
    assert image.mode == "I;16"
    assert left_and_right(opened(encoded(image, kind))) == ((0x40,) * 3, (0xC0,) * 3)


def test_sixteen_bits_of_the_other_byte_order():
    image = Image.frombytes("I;16B", (2, 1), struct.pack(">HH", 0x4000, 0xC000))
    rgb = to_rgb(image)
    assert [rgb.getpixel((x, 0)) for x in (0, 1)] == [(0x40,) * 3, (0xC0,) * 3]


def test_sixteen_bit_grey_with_a_colour_key():
    rows = b"\0" + struct.pack(">HH", 0x4000, 0xC000)
    data = png(2, 1, 16, 0, rows, chunk(b"tRNS", struct.pack(">H", 0x4000)))
    assert left_and_right(opened(data)) == (WHITE, (0xC0,) * 3)


def test_sixteen_bits_a_channel():
    rows = b"\0" + struct.pack(">HHH", 0xFFFF, 0x8000, 0) + struct.pack(">HHH", 0, 0x40FF, 0xFFFF)
    assert left_and_right(opened(png(2, 1, 16, 2, rows))) == ((255, 0x80, 0), (0, 0x40, 255))


def test_sixteen_bits_a_channel_with_alpha():
    rows = b"\0" + struct.pack(">HHHH", 0, 0, 0, 0) + struct.pack(">HHHH", 0xFFFF, 0, 0, 0xFFFF)
    assert left_and_right(opened(png(2, 1, 16, 6, rows))) == (WHITE, RED)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((10, 200), (10, 200)),
        ((0x4000, 0xC000), (0x3F, 0xBF)),
        ((0, 1 << 30), (0, 255)),
        ((-5, 255), (0, 255)),
    ],
)
def test_32_bit_integers_by_their_range(values, expected):
    rgb = to_rgb(Image.fromarray(np.array([values], np.int32)))
    assert [rgb.getpixel((x, 0))[0] for x in (0, 1)] == list(expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [((0.0, 0.5), (0, 127)), ((0.0, 200.0), (0, 200)), ((float("nan"), 1.0), (0, 255)), ((0.0, 0.0), (0, 0))],
)
def test_floats_by_their_range(values, expected):
    data = encoded(Image.fromarray(np.array([values], np.float32)), "TIFF")
    image = opened(data).image
    assert [image.getpixel((x, 0))[0] for x in (0, 1)] == list(expected)


def test_cmyk_tiff():
    image = halves((0, 255, 255, 0), (0, 0, 0, 255), "CMYK")
    assert left_and_right(opened(encoded(image, "TIFF"))) == (RED, BLACK)


def test_cmyk_jpeg_with_adobes_inverted_channels():
    image = halves((0, 255, 255, 0), (0, 0, 0, 0), "CMYK", (32, 16))
    data = encoded(image, "JPEG", quality=95)
    assert b"Adobe" in data
    left, right = left_and_right(opened(data))
    assert near(left, RED)
    assert near(right, WHITE)


def test_ycbcr_tiff():
    data = encoded(halves(RED, BLUE).convert("YCbCr"), "TIFF")
    left, right = left_and_right(opened(data))
    assert near(left, RED)
    assert near(right, BLUE)
