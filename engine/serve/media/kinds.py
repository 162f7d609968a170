"""Which media types a picture, a recording or a clip may be said to have.

Knows nothing of what the bytes are; the engine looks at those.
"""

from dataclasses import dataclass

from engine.api.request import Audio, Image, MediaPart, Video
from engine.serve.settings import MediaRules


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one reference has to lead to."""

    what: str
    """What to call it in a message to a person, such as "image 2"."""
    types: tuple[str, ...]
    """How its media type begins."""
    max_bytes: int

    def fits(self, media_type: str) -> bool:
        return media_type.lower().startswith(self.types)


def wanted(part: MediaPart, number: int, rules: MediaRules) -> Wanted:
    """`number` is its place among the media of the request, from 1."""
    match part:
        case Image():
            return Wanted(f"image {number}", ("image/",), rules.max_bytes)
        case Audio():
            return Wanted(f"recording {number}", ("audio/",), rules.max_bytes)
        case Video():
            return Wanted(f"video {number}", ("video/", "image/gif"), rules.max_clip_bytes)
