"""Memory that a piece of work on a picture or clip is about to take: said before it is done, to whoever counts.

Knows nothing of what is free.
"""

from dataclasses import dataclass

OF_A_PIXEL = 9
"""Bytes: as it is decoded, as three bytes, and these once more while it is turned upright or scaled."""

OF_A_CLIPS_PIXEL = 27
"""Bytes: all frames are held at a time, and become floats, which are laid out anew."""


@dataclass(frozen=True, slots=True)
class Wanted:
    name: str
    """Of the file, for people."""
    bytes: int
