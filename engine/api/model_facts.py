"""What is told of a model besides its name: what it can do, what memory it takes, how it looks at a picture.

Knows nothing of how any of it is found out.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model can do, as far as its files tell."""

    pictures: bool = False
    most_pictures: int | None = None
    """In one conversation; `None` for as many as there is room for."""
    video: bool = False
    sound: bool = False
    tools: bool = False
    """Its chat template knows tools."""
    thinking: bool = False
    """It can think before it answers."""


@dataclass(frozen=True, slots=True)
class ContextMemory:
    """What a conversation of some length takes."""

    tokens: int
    bytes: int
    """Weights and cache."""


@dataclass(frozen=True, slots=True)
class PictureCut:
    """How a model looks at one picture; sizes are width and height, (0, 0) where that cannot be told."""

    size: tuple[int, int]
    seen_size: tuple[int, int]
    """What it is scaled to, or each of its tiles."""
    tiles: int
    tokens: int
    """Of the prompt, that stand for it."""
