"""What an answer's coordinates are read against, and the ways in which models count them.

Knows no notation. A place comes out in pixels of the picture as it was given, upright.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.api.events import Region
from engine.models.recipes.pictures import Pair

if TYPE_CHECKING:
    from engine.models.base import Config, PreparedMedia

Point = tuple[float, float]
"""x and y."""


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked; only the pictures of a conversation count here, in their order."""

    prompt: str = field(repr=False)
    """As rendered."""
    sizes: tuple[Pair, ...]
    """Height and width of each picture as it was given."""
    media: "tuple[PreparedMedia, ...]" = field(repr=False)
    config: "Config" = field(repr=False)

    @property
    def last(self) -> int:
        """The picture that is meant where an answer does not say which: the one shown last."""
        return len(self.sizes) - 1


Locate = Callable[[str, Question], tuple[Region, ...]]
"""The places that an answer, control tokens included, speaks of. Never raises: a place that makes no sense is none."""

Unit = Callable[[float, float, Question, int], Point]
"""x and y of an answer -> in pixels of the picture of that number."""


def in_parts(of: float, shift: float = 0.0) -> Unit:
    """Each picture is `of` parts wide and as many high; `shift` is where in a part a number stands."""

    def place(x: float, y: float, question: Question, picture: int) -> Point:
        height, width = question.sizes[picture]
        return (x + shift) / of * width, (y + shift) / of * height

    return place


def in_patches(x: float, y: float, question: Question, picture: int) -> Point:
    """In pixels of the picture as it was scaled, which its `grid` of patches tells."""
    height, width = question.sizes[picture]
    rows, columns = question.media[picture].arrays["grid"][-2:].tolist()
    side = question.config["vision_config"]["patch_size"]
    return x * width / (columns * side), y * height / (rows * side)


def region(label: str, points: Sequence[Point], unit: Unit, question: Question, picture: int | None = None) -> Region:
    """A region of the last picture, or of `picture`; what lies outside of it is moved to its border."""
    picture = question.last if picture is None else picture
    height, width = question.sizes[picture]
    placed = (unit(x, y, question, picture) for x, y in points)
    inside = tuple((min(max(x, 0.0), float(width)), min(max(y, 0.0), float(height))) for x, y in placed)
    if len(inside) == 2:
        (left, top), (right, bottom) = inside
        inside = (min(left, right), min(top, bottom)), (max(left, right), max(top, bottom))
    return Region(picture, " ".join(label.split()), inside)
