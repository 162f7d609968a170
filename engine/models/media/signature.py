"""What some bytes seem to be, told by how they begin.

Knows nothing of decoding: a file that begins well may still be torn.
"""

from enum import Enum


class PictureFormat(Enum):
    PNG = "PNG"
    JPEG = "JPEG"
    WEBP = "WebP"
    GIF = "GIF"
    BMP = "BMP"
    TIFF = "TIFF"
    AVIF = "AVIF"
    HEIC = "HEIC"


class ClipFormat(Enum):
    MP4 = "MP4 or QuickTime"
    MATROSKA = "Matroska or WebM"
    AVI = "AVI"
    MPEG = "MPEG"
    GIF = "GIF"


_CLIPS = (
    (b"\x1aE\xdf\xa3", ClipFormat.MATROSKA),
    (b"\0\0\x01\xba", ClipFormat.MPEG),
    (b"GIF87a", ClipFormat.GIF),
    (b"GIF89a", ClipFormat.GIF),
)

# What the first box of a QuickTime file from before `ftyp` may be.
_QUICKTIME = frozenset((b"moov", b"mdat", b"wide", b"free", b"skip"))

_TRANSPORT = 188
"""Bytes between the marks of an MPEG transport stream."""

_PICTURES = (
    (b"\x89PNG\r\n\x1a\n", PictureFormat.PNG),
    (b"\xff\xd8\xff", PictureFormat.JPEG),
    (b"GIF87a", PictureFormat.GIF),
    (b"GIF89a", PictureFormat.GIF),
    (b"BM", PictureFormat.BMP),
    (b"II*\0", PictureFormat.TIFF),
    (b"MM\0*", PictureFormat.TIFF),
    (b"II+\0", PictureFormat.TIFF),
    (b"MM\0+", PictureFormat.TIFF),
)

# Brands of the `ftyp` box (ISO/IEC 23008-12 for HEIF, the AV1 image format for AVIF).
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
_HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))

_OTHERS = (
    (b"%PDF-", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"PK\x03\x04", "a ZIP archive or an Office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"8BPS", "a Photoshop document"),
    (b"ID3", "an MP3 recording"),
    (b"fLaC", "a FLAC recording"),
    (b"OggS", "an Ogg recording"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"\0\0\1\0", "an icon file"),
    (b"GGUF", "a GGUF model"),
    (b"SQLite format 3\0", "a database"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)

_RIFF = {b"WAVE": "a WAV recording", b"AVI ": "an AVI video"}


def picture_format(data: bytes) -> PictureFormat | None:
    """The format these bytes begin like; `None` when it is none that is opened here."""
    for signature, kind in _PICTURES:
        if data.startswith(signature):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return PictureFormat.WEBP
    brands = _brands(data)
    if brands & _AVIF_BRANDS:
        return PictureFormat.AVIF
    if brands & _HEIC_BRANDS:
        return PictureFormat.HEIC
    return None


def clip_format(data: bytes) -> ClipFormat | None:
    """The format of a clip that these first bytes begin like; `None` when it is none that is opened here. Playlists are
    none: they name other files."""
    for signature, kind in _CLIPS:
        if data.startswith(signature):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return ClipFormat.AVI
    if data[4:8] in _QUICKTIME or (data[4:8] == b"ftyp" and picture_format(data) is None):
        return ClipFormat.MP4
    if data[:1] == data[_TRANSPORT : _TRANSPORT + 1] == data[2 * _TRANSPORT : 2 * _TRANSPORT + 1] == b"G":
        return ClipFormat.MPEG
    return None


def describe(data: bytes) -> str:
    """What bytes that are nothing wanted seem to be, with its article: "a PDF document"."""
    for signature, name in _OTHERS:
        if data.startswith(signature):
            return name
    if data[:4] == b"RIFF":
        return _RIFF.get(data[8:12], "a RIFF file")
    if (picture := picture_format(data)) is not None:
        return f"a picture ({picture.value})"
    if data[4:8] == b"ftyp":
        return "an MP4 or QuickTime video"
    return _describe_text(data[:2048])


def _brands(data: bytes) -> set[bytes]:
    """The major brand and the compatible ones of an ISO media file."""
    if data[4:8] != b"ftyp":
        return set()
    box = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    return {box[at : at + 4] for at in range(0, len(box), 4) if at != 4}


def _describe_text(head: bytes) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in start:
        return "an SVG drawing"
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if b"\0" in head:
        return "some other binary file"
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return "some other binary file"
    return "a text file"
