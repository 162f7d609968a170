"""Which pictures and clips can be attached, told by how their bytes begin.

Knows nothing of decoding: a file that begins well may still be torn.
"""

from enum import Enum

HEAD_BYTES = 4096
"""Of a file: more than enough to tell."""


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


def _brands(data: bytes) -> set[bytes]:
    """The major brand and the compatible ones of an ISO media file."""
    if data[4:8] != b"ftyp":
        return set()
    box = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    return {box[at : at + 4] for at in range(0, len(box), 4) if at != 4}
