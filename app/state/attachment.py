"""One attached file: what is known of it, and the part of a message that carries it.

Knows nothing of decoding: what a file really holds is found out elsewhere and told with `FileFacts`.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from app.state.media_kinds import MediaKind
from app.state.senses import USUAL_FRAMES, Senses, Treatment, treatment
from engine.api.request import Image, Video


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What reading a file has brought to light."""

    kind: MediaKind
    duration: float | None = None
    """Seconds a clip lasts, where it says so."""
    data: bytes | None = field(default=None, repr=False)
    """A picture's content: every later turn shows it to the model again, and files move or vanish."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file, or the bytes of a pasted picture. `key` tells it from any other of this run."""

    key: int
    name: str
    source: Path | bytes = field(repr=False)
    size: int
    """Bytes."""
    kind: MediaKind = MediaKind.PICTURE
    """By its name, until its content is known."""
    duration: float | None = None
    data: bytes | None = field(default=None, repr=False)
    frames: int = USUAL_FRAMES
    """How many stand for a clip where the model takes pictures only."""

    @property
    def content(self) -> Path | bytes:
        """What can be read of it without its file, else the file."""
        return self.source if self.data is None else self.data

    @property
    def has_vanished(self) -> bool:
        return isinstance(self.content, Path) and not self.content.exists()

    def knowing(self, facts: FileFacts) -> "Attachment":
        return replace(self, kind=facts.kind, duration=facts.duration, data=facts.data)

    def part(self, senses: Senses | None) -> Image | Video:
        if self.kind is MediaKind.PICTURE:
            return Image(self.content, self.name)
        if senses is not None and treatment(self.kind, senses) is Treatment.AS_PICTURES:
            return Video(self.content, self.name, as_pictures=senses.frames_for(self.frames))
        return Video(self.content, self.name)
