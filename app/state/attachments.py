"""The pictures and clips waiting to be sent with the next question, and what is refused as one, by kind and size.

Knows nothing of decoding: whether a file really holds a picture is found out by the engine, which says so.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from app.state.attachment import Attachment, FileFacts
from app.state.media_kinds import MediaKind, kind_of, refusal_sentence
from app.state.notice import Notice
from app.state.senses import Senses
from app.state.wording import bytes_text, count_text
from engine.api.settings import MediaLimits


class AttachmentTray:
    """Attributes: `changed` sends what is in the tray, after each change, also of what the model can be shown."""

    def __init__(self, limits: MediaLimits | None = None) -> None:
        self.changed: Notice[tuple[Attachment, ...]] = Notice()
        self._limits = limits or MediaLimits()
        self._items: tuple[Attachment, ...] = ()
        self._senses: Senses | None = None
        self._keys = itertools.count(1)

    @property
    def items(self) -> tuple[Attachment, ...]:
        return self._items

    @property
    def senses(self) -> Senses | None:
        """What the model that will be asked can be shown."""
        return self._senses

    def set_senses(self, senses: Senses | None) -> None:
        if senses != self._senses:
            self._senses = senses
            self.changed.send(self._items)

    def add_files(self, paths: Iterable[Path]) -> list[str]:
        """Takes what can be taken; returns one sentence for each that cannot."""
        refusals: list[str] = []
        taken: list[Attachment] = []
        present = {item.source for item in self._items}
        for path in dict.fromkeys(path.absolute() for path in paths):
            if path in present:
                continue
            kind = kind_of(path)
            refusal = self._refusal(path, kind) or self._too_many(len(taken))
            if refusal or kind is None:
                refusals.append(refusal)
            else:
                taken.append(Attachment(next(self._keys), path.name, path, path.stat().st_size, kind))
        if taken:
            self._replace((*self._items, *taken))
        return refusals

    def add_picture(self, data: bytes, name: str) -> list[str]:
        """An encoded picture that has no file, such as one from the clipboard."""
        refusal = self._too_large(name, len(data), MediaKind.PICTURE) or self._too_many(0)
        if refusal:
            return [refusal]
        self._replace((*self._items, Attachment(next(self._keys), name, data, len(data))))
        return []

    def learn(self, key: int, facts: FileFacts) -> bool:
        """What a file has turned out to hold. Returns whether it is still in the tray."""
        return self._change(key, lambda item: item.knowing(facts))

    def set_frames(self, key: int, frames: int) -> None:
        """How many frames stand for a clip where the model takes pictures only."""
        self._change(key, lambda item: replace(item, frames=frames))

    def remove(self, key: int) -> None:
        self._replace(tuple(item for item in self._items if item.key != key))

    def take_all(self) -> tuple[Attachment, ...]:
        """Empties the tray."""
        items = self._items
        self._replace(())
        return items

    def _change(self, key: int, change: Callable[[Attachment], Attachment]) -> bool:
        self._replace(tuple(change(item) if item.key == key else item for item in self._items))
        return any(item.key == key for item in self._items)

    def _replace(self, items: tuple[Attachment, ...]) -> None:
        if items != self._items:
            self._items = items
            self.changed.send(items)

    def _refusal(self, path: Path, kind: MediaKind | None) -> str:
        try:
            size = path.stat().st_size
        except OSError as error:
            return f"“{path.name}” cannot be opened: {error.strerror or error}."
        if path.is_dir():
            return f"“{path.name}” is a folder. Drop the files in it instead."
        if kind is None:
            return refusal_sentence([path])
        if size == 0:
            return f"“{path.name}” is empty (0 bytes)."
        return self._too_large(path.name, size, kind)

    def _too_large(self, name: str, size: int, kind: MediaKind) -> str:
        most = self._limits.max_bytes if kind is MediaKind.PICTURE else self._limits.max_clip_bytes
        if size <= most:
            return ""
        return f"“{name}” is too large: {bytes_text(size)}, and the limit is {bytes_text(most)}."

    def _too_many(self, coming: int) -> str:
        if len(self._items) + coming < self._limits.max_images:
            return ""
        return f"One question can hold {count_text(self._limits.max_images, 'attachment')}; remove one to add another."
