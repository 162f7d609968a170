"""Places written as tokens of their own, `<loc_52>`: PaliGemma's, Florence-2's and DocTags' ways.

Knows nothing of how the tokens get into the text.
"""

import re

from engine.api.events import Region
from engine.models.grounding.question import Point, Question, in_parts, region

_PALIGEMMA = re.compile(r"((?:<loc\d{4}>){4})\s*(?:<seg\d{3}>\s*)*([^<;]*)")
_FLORENCE = re.compile(r"([^<]*)((?:<loc_\d+>|<poly>|</poly>|<sep>)+)")
_DOCTAGS = re.compile(r"<(\w+)><loc_(\d{1,6})><loc_(\d{1,6})><loc_(\d{1,6})><loc_(\d{1,6})>([^<]*)")
_NUMBER = re.compile(r"<loc_?(\d{1,6})>")

_QUADS = "with regions?"
_OUTLINES = ("mask",)
"""Words of Florence-2's own prompts, which tell what its answers are made of."""

PALIGEMMA_PARTS, FLORENCE_PARTS, DOCTAGS_PARTS = 1024, 1000, 500


def paligemma_places(answer: str, question: Question) -> tuple[Region, ...]:
    """`<loc0100><loc0200><loc0300><loc0400> cat ; ...`: top, left, bottom, right (arXiv 2407.07726)."""
    found = []
    for tokens, label in _PALIGEMMA.findall(answer) if question.sizes else ():
        top, left, bottom, right = map(int, _NUMBER.findall(tokens))
        found.append(region(label, [(left, top), (right, bottom)], in_parts(PALIGEMMA_PARTS), question))
    return tuple(found)


def florence_places(answer: str, question: Question) -> tuple[Region, ...]:
    """`cat<loc_1><loc_2><loc_3><loc_4>`: boxes, or outlines where the prompt asked for quads or masks
    (transformers `processing_florence2.py`)."""
    found = []
    quads = _QUADS in question.prompt
    outlines = any(word in question.prompt for word in _OUTLINES)
    for label, tokens in _FLORENCE.findall(answer) if question.sizes else ():
        for stretch in re.split(r"<poly>|</poly>|<sep>", tokens):
            points = _pairs(stretch)
            size = 4 if quads else len(points) if outlines else 2
            for start in range(0, len(points) - size + 1, size) if size > 1 else ():
                part = points[start : start + size]
                found.append(region(label, part, in_parts(FLORENCE_PARTS, shift=0.5), question))
    return tuple(found)


def _pairs(tokens: str) -> list[Point]:
    numbers = [int(number) for number in _NUMBER.findall(tokens)]
    return list(zip(numbers[::2], numbers[1::2], strict=False))


def doctags_places(answer: str, question: Question) -> tuple[Region, ...]:
    """`<text><loc_1><loc_2><loc_3><loc_4>What it says</text>`: left, top, right, bottom (arXiv 2503.11576). The label
    is the kind of the element, and what it says."""
    found = []
    for kind, *numbers, text in _DOCTAGS.findall(answer) if question.sizes else ():
        left, top, right, bottom = map(int, numbers)
        label = f"{kind}: {text}" if text.strip() else kind
        found.append(region(label, [(left, top), (right, bottom)], in_parts(DOCTAGS_PARTS), question))
    return tuple(found)
