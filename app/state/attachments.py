"""The pictures waiting to be sent with the next question, and what is refused as one, by kind and size.

Knows nothing of decoding: whether a file really holds a picture is found out by the engine, which says so.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from app.state.notice import Notice
from app.state.wording import bytes_text, count_text
from engine.api.settings import MediaLimits

PICTURE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".dib"),
    *(".tif", ".tiff", ".heic", ".heif", ".hif", ".avif"),
)
PICTURE_KINDS = "PNG, JPEG, HEIC, WebP, AVIF, GIF, TIFF or BMP"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A picture file, or the bytes of a pasted one. `key` tells it from any other of this run."""

    key: int
    name: str
    source: Path | bytes = field(repr=False)
    size: int
    """Bytes."""


def is_picture(path: Path) -> bool:
    """By its name alone, so that it can be asked while a drag hovers over the window."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def refusal_sentence(paths: Iterable[Path]) -> str:
    """Why none of these can be taken, for a person."""
    names = [path.name for path in paths]
    if not names:
        return f"Only picture files can be dropped here: {PICTURE_KINDS}."
    if len(names) == 1:
        return f"“{names[0]}” is not a picture Fovea can read ({PICTURE_KINDS})."
    return f"None of these {len(names)} files is a picture Fovea can read ({PICTURE_KINDS})."


def kept(item: Attachment) -> Attachment:
    """With the file's bytes: every later turn shows the picture to the model again, and files move or vanish.

    What cannot be read stays a path; the engine says what is wrong with it.
    """
    if isinstance(item.source, bytes):
        return item
    try:
        return replace(item, source=item.source.read_bytes())
    except OSError:
        return item


class AttachmentTray:
    """Attributes: `changed` sends what is in the tray, after each change."""

    def __init__(self, limits: MediaLimits | None = None) -> None:
        self.changed: Notice[tuple[Attachment, ...]] = Notice()
        self._limits = limits or MediaLimits()
        self._items: tuple[Attachment, ...] = ()
        self._keys = itertools.count(1)

    @property
    def items(self) -> tuple[Attachment, ...]:
        return self._items

    def add_files(self, paths: Iterable[Path]) -> list[str]:
        """Takes what can be taken; returns one sentence for each that cannot."""
        refusals: list[str] = []
        taken: list[Attachment] = []
        present = {item.source for item in self._items}
        for path in dict.fromkeys(path.absolute() for path in paths):
            if path in present:
                continue
            refusal = self._refusal(path) or self._too_many(len(taken))
            if refusal:
                refusals.append(refusal)
            else:
                taken.append(Attachment(next(self._keys), path.name, path, path.stat().st_size))
        if taken:
            self._replace((*self._items, *taken))
        return refusals

    def add_picture(self, data: bytes, name: str) -> list[str]:
        """An encoded picture that has no file, such as one from the clipboard."""
        refusal = self._too_large(name, len(data)) or self._too_many(0)
        if refusal:
            return [refusal]
        self._replace((*self._items, Attachment(next(self._keys), name, data, len(data))))
        return []

    def remove(self, key: int) -> None:
        self._replace(tuple(item for item in self._items if item.key != key))

    def take_all(self) -> tuple[Attachment, ...]:
        """Empties the tray."""
        items = self._items
        self._replace(())
        return items

    def _replace(self, items: tuple[Attachment, ...]) -> None:
        if items != self._items:
            self._items = items
            self.changed.send(items)

    def _refusal(self, path: Path) -> str:
        try:
            size = path.stat().st_size
        except OSError as error:
            return f"“{path.name}” cannot be opened: {error.strerror or error}."
        if path.is_dir():
            return f"“{path.name}” is a folder. Drop the pictures in it instead."
        if not is_picture(path):
            return refusal_sentence([path])
        if size == 0:
            return f"“{path.name}” is empty (0 bytes)."
        return self._too_large(path.name, size)

    def _too_large(self, name: str, size: int) -> str:
        if size <= self._limits.max_bytes:
            return ""
        return f"“{name}” is too large: {bytes_text(size)}, and the limit is {bytes_text(self._limits.max_bytes)}."

    def _too_many(self, coming: int) -> str:
        if len(self._items) + coming < self._limits.max_images:
            return ""
        return f"One question can hold {count_text(self._limits.max_images, 'picture')}; remove one to add another."
