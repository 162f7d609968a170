"""Which files can be attached, told by their names.

Knows nothing of their content, so that it can be asked while a drag hovers over the window.
"""

from collections.abc import Iterable
from enum import Enum
from pathlib import Path


class MediaKind(Enum):
    PICTURE = "picture"
    CLIP = "clip"


PICTURE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".dib"),
    *(".tif", ".tiff", ".heic", ".heif", ".hif", ".avif"),
)
CLIP_SUFFIXES = (".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".mpg", ".mpeg")
"""Animated GIFs count as pictures until somebody has looked into them."""

PICTURE_KINDS = "PNG, JPEG, HEIC, WebP, AVIF, GIF, TIFF or BMP"
CLIP_KINDS = "MP4, MOV, MKV, WebM, AVI or MPEG"
_KINDS = f"pictures: {PICTURE_KINDS}; clips: {CLIP_KINDS}"


def kind_of(path: Path) -> MediaKind | None:
    suffix = path.suffix.lower()
    if suffix in PICTURE_SUFFIXES:
        return MediaKind.PICTURE
    return MediaKind.CLIP if suffix in CLIP_SUFFIXES else None


def is_picture(path: Path) -> bool:
    return kind_of(path) is MediaKind.PICTURE


def refusal_sentence(paths: Iterable[Path]) -> str:
    """Why none of these can be taken, for a person."""
    names = [path.name for path in paths]
    if not names:
        return f"Only files with pictures or clips can be dropped here ({_KINDS})."
    if len(names) == 1:
        return f"“{names[0]}” is neither a picture nor a clip that Fovea can read ({_KINDS})."
    return f"None of these {len(names)} files is a picture or a clip that Fovea can read ({_KINDS})."


def these(kinds: Iterable[MediaKind]) -> str:
    """Such as "this picture", "these clips" or, of both, "these files"."""
    found = list(kinds)
    if len(found) == 1:
        return f"this {found[0].value}"
    return f"these {found[0].value}s" if len(set(found)) == 1 else "these files"
