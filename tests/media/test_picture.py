"""Where pictures come from, how they are turned upright, and every format that is promised."""

import base64
import hashlib
import io
import subprocess
import sys
from urllib.parse import quote

import pillow_heif
import pytest
from PIL import Image

from engine.api.request import Image as Part
from engine.api.settings import MediaLimits
from engine.models.media.picture import open_picture
from tests.media.drawing import chunk, encoded, halves, left_and_right, opened, png

RED, BLUE = (255, 0, 0), (0, 0, 255)
PNG = encoded(halves(RED, BLUE), "PNG")


def near(got, expected) -> bool:
    return all(abs(a - b) <= 12 for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_formats(kind):
    data = encoded(halves(RED, BLUE, size=(64, 32)), kind)
    left, right = left_and_right(opened(data))
    assert near(left, RED)
    assert near(right, BLUE)


def heic(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, **options)
    return buffer.getvalue()


def test_heic():
    left, right = left_and_right(opened(heic(halves(RED, BLUE, size=(64, 64)))))
    assert near(left, RED)
    assert near(right, BLUE)


def test_first_frame_of_an_animation():
    frames = [halves(RED, BLUE), halves(BLUE, RED)]
    for kind in ("GIF", "WEBP", "TIFF", "PNG"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert left_and_right(opened(data)) == (RED, BLUE), kind


def test_sources_are_the_same_picture(tmp_path):
    path = tmp_path / "half and half.png"
    path.write_bytes(PNG)
    uris = [
        "data:image/png;base64," + base64.b64encode(PNG).decode(),
        "data:image/png;base64," + quote(base64.b64encode(PNG).decode(), safe=""),
        "DATA:image/png;charset=x;base64,\n" + base64.encodebytes(PNG).decode(),
        "data:image/png," + quote(PNG),
    ]
    for source in (path, str(path), path.as_uri(), PNG, *uris):
        picture = opened(source)
        assert picture.digest == hashlib.sha256(PNG).hexdigest()
        assert left_and_right(picture) == (RED, BLUE)


def test_names(tmp_path):
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    assert opened(path).name == "cat.png"
    assert opened(PNG).name == "the attachment"
    assert open_picture(Part(PNG, "pasted picture"), MediaLimits()).name == "pasted picture"


CORNERS = {1: (0, 0), 2: (1, 0), 3: (1, 1), 4: (0, 1), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_orientation(orientation, kind):
    """EXIF 2.32, 4.6.4: where the stored picture's first row and column stand on the screen."""
    image = Image.new("RGB", (64, 32), BLUE)
    image.paste(RED, (0, 0, 32, 16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = opened(encoded(image, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {})))
    assert picture.image.size == ((64, 32) if orientation < 5 else (32, 64))
    across, down = CORNERS[orientation]
    width, height = picture.image.size
    corner = (4 + across * (width - 8), 4 + down * (height - 8))
    assert near(picture.image.getpixel(corner), RED)
    others = {(4 + x * (width - 8), 4 + y * (height - 8)) for x in (0, 1) for y in (0, 1)} - {corner}
    assert all(near(picture.image.getpixel(other), BLUE) for other in others)


def test_heic_is_turned_once():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = halves(RED, BLUE, size=(64, 32))
    data = heic(image, exif=exif.tobytes())
    picture = opened(data)
    assert picture.image.size == (32, 64)
    assert near(picture.image.getpixel((16, 8)), RED)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0garbage that is no TIFF",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01",
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_torn_exif_does_not_kill_a_good_picture(exif, kind):
    image = halves(RED, BLUE, size=(64, 32))
    if kind == "PNG":
        rows = b"".join(b"\0" + bytes(RED) * 8 + bytes(BLUE) * 8 for _ in range(8))
        data = png(16, 8, 8, 2, rows, chunk(b"eXIf", exif[6:]))
    else:
        data = encoded(image, kind, exif=exif)
    left, right = left_and_right(opened(data))
    assert near(left, RED)
    assert near(right, BLUE)


def test_orientation_in_torn_exif_is_still_used():
    """A directory that ends after its first entry: what could be read counts."""
    entry = b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
    exif = b"Exif\0\0II*\0\x08\0\0\0\x09\0" + entry + b"\x0f\x01\x02\0\xff\xff"
    data = encoded(halves(RED, BLUE, size=(64, 32)), "JPEG", exif=exif)
    assert opened(data).image.size == (32, 64)


def test_decoding_heic_is_not_imported_before_it_is_needed():
    code = "import sys, engine.models.media.picture; sys.exit('pillow_heif' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
