"""One attached picture, from wherever it is to upright RGB pixels.

Knows nothing of models. A handful of decoders and no others: nothing here starts a program or unpickles anything.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import ExifTags, Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from engine.api import request
from engine.api.errors import MediaError
from engine.api.media_format import PictureFormat, picture_format
from engine.api.settings import MediaLimits
from engine.models.media.colour import to_rgb
from engine.models.media.signature import describe
from engine.models.media.source import Content, read_content


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture. `image` is upright, RGB, 8 bits a channel, and belongs to whoever asked."""

    image: Image.Image = field(repr=False)
    digest: str
    """sha256 of the file's content, hexadecimal."""
    name: str
    original_size: tuple[int, int]
    """Width and height as stored, before it was turned upright."""


def _open_heic(file: io.BytesIO) -> ImageFile.ImageFile:
    # Imported when the first HEIC comes: most sessions never see one, and libheif is large.
    from pillow_heif.as_plugin import HeifImageFile

    return HeifImageFile(file)


# The decoders themselves and not `Image.open`: that one compares the size with a limit of its own for the whole
# process, and refuses without saying the size.
_OPENERS: dict[PictureFormat, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    PictureFormat.PNG: PngImageFile,
    PictureFormat.JPEG: JpegImageFile,
    PictureFormat.WEBP: WebPImageFile,
    PictureFormat.GIF: GifImageFile,
    PictureFormat.BMP: BmpImageFile,
    PictureFormat.TIFF: TiffImageFile,
    PictureFormat.AVIF: AvifImageFile,
    PictureFormat.HEIC: _open_heic,
}

# What Pillow's decoders raise on bytes that are not what they promise to be.
_TORN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    AssertionError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_picture(part: request.Image, limits: MediaLimits) -> Picture:
    """Raises `MediaError` for what is not there, not a picture, torn, or larger than `limits`."""
    return decode_picture(read_content(part, limits.max_bytes), limits)


def decode_picture(content: Content, limits: MediaLimits) -> Picture:
    """The same for one that has been read."""
    kind = picture_format(content.data)
    if kind is None:
        raise MediaError(
            f"{content.name} is not a picture: it looks like {describe(content.data)}.",
            f"Pictures can be {', '.join(each.value for each in PictureFormat)}.",
        )
    with warnings.catch_warnings():
        # Pillow warns of torn EXIF and the like; the picture is good or it is refused, there is no third.
        warnings.simplefilter("ignore")
        image, original_size = _decode(content, kind, limits.max_pixels)
    return Picture(image, content.digest, content.name, original_size)


def stored_size(content: Content) -> tuple[int, int] | None:
    """Width and height as its first bytes say, before anything is decoded. `None` where they say nothing: what is wrong
    is told when it is decoded."""
    kind = picture_format(content.data)
    if kind is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _OPENERS[kind](io.BytesIO(content.data)) as file:
                return file.size
    except _TORN:
        return None


def is_animated(part: request.Image, limits: MediaLimits) -> bool:
    """Whether it is a GIF of several frames. What is wrong with it is told when it is opened."""
    try:
        data = read_content(part, limits.max_bytes).data
        if picture_format(data) is not PictureFormat.GIF:
            return False
        with GifImageFile(io.BytesIO(data)) as file:
            return file.is_animated
    except (MediaError, *_TORN):
        return False


def _decode(content: Content, kind: PictureFormat, max_pixels: int) -> tuple[Image.Image, tuple[int, int]]:
    try:
        with _OPENERS[kind](io.BytesIO(content.data)) as file:
            size = file.size
            _check_pixels(size, max_pixels, content.name)
            file.load()
            return _turn(to_rgb(file), _orientation(file)), size
    except _TORN as error:
        raise MediaError(
            f"{content.name} begins like a {kind.value} picture but cannot be read: {error or type(error).__name__}.",
            "It may be damaged or cut short: copy or download it once more.",
        ) from error


def _check_pixels(size: tuple[int, int], max_pixels: int, name: str) -> None:
    width, height = size
    if width * height > max_pixels:
        raise MediaError(
            f"{name} is {width:,} x {height:,} pixels, more than the {max_pixels:,} in all that are opened.",
            "Save a smaller copy of it.",
        )


def _orientation(file: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none or it cannot be read: the picture matters more than its notes."""
    try:
        return int(file.getexif().get(ExifTags.Base.Orientation, 1))
    except _TORN:
        return 1


def _turn(image: Image.Image, orientation: int) -> Image.Image:
    method = _UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)
