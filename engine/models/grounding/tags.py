"""Places between tags: the boxes of Qwen2-VL, InternVL and DeepSeek-OCR, the points of Molmo.

Knows no family. A label stands between tags of its own before its box, or in the tag of its points.
"""

import re

from engine.api.events import Region
from engine.models.grounding.question import Locate, Point, Question, Unit, in_parts, region

_NUMBERS = re.compile(r"\d+(?:\.\d+)?")

_POINT_TAG = re.compile(r"<points?\b([^>]*?)(?:/>|>([^<]*)</points?>)", re.DOTALL)
_ATTRIBUTE = re.compile(r'(\w+)\s*=\s*"([^"]*)"')
_CROWD_TAG = re.compile(r'<(?:points|tracks)\b[^>]*?coords="([0-9\t:;, .]+)"\s*(?:/>|>([^<]*))')
_CROWD = re.compile(r"(?:^|\t|:|,|;)([0-9]{1,6})(?:\.[0-9]*)? ([0-9. ]+)")
_MEMBER = re.compile(r"[0-9]+ ([0-9]{3,4}) ([0-9]{3,4})")

PERCENT, THOUSANDTHS = in_parts(100), in_parts(1000)


def boxes_between(label: tuple[str, str], box: tuple[str, str], unit: Unit) -> Locate:
    """Between the two words of `box` stand the numbers of one box or more, four each; between those of `label`,
    before them, what they are of."""
    named = rf"(?:{re.escape(label[0])}(.*?){re.escape(label[1])}\s*)?"
    pattern = re.compile(rf"{named}{re.escape(box[0])}(.*?){re.escape(box[1])}", re.DOTALL)

    def locate(answer: str, question: Question) -> tuple[Region, ...]:
        found = []
        for name, content in pattern.findall(answer) if question.sizes else ():
            numbers = [float(number) for number in _NUMBERS.findall(content)]
            for start in range(0, len(numbers) - 3, 4):
                left, top, right, bottom = numbers[start : start + 4]
                found.append(region(name, [(left, top), (right, bottom)], unit, question))
        return tuple(found)

    return locate


def point_tags(answer: str, question: Question) -> tuple[Region, ...]:
    """`<point x="10.5" y="20" alt="cat">cat</point>` and `<points x1="..." y1="..." x2=...>` in hundredths (Molmo,
    arXiv 2409.17146); `<points coords="1 1 105 200 2 300 400;2 1 ..."/>` in thousandths, the picture's number first
    (Molmo 2, arXiv 2601.10611)."""
    if not question.sizes:
        return ()
    found = []
    for attributes, text in _POINT_TAG.findall(answer):
        said = dict(_ATTRIBUTE.findall(attributes))
        if "coords" not in said:
            label = said.get("alt") or text
            found += [region(label, [point], PERCENT, question) for point in _numbered(said)]
    for coords, text in _CROWD_TAG.findall(answer):
        for number, members in _CROWD.findall(coords):
            picture = int(number) - 1
            if 0 <= picture < len(question.sizes):
                points = [(float(x), float(y)) for x, y in _MEMBER.findall(members)]
                found += [region(text, [point], THOUSANDTHS, question, picture) for point in points]
    return tuple(found)


def _numbered(attributes: dict[str, str]) -> list[Point]:
    """x and y, x1 and y1 and so on."""
    ends = [name[1:] for name in attributes if re.fullmatch(r"x\d*", name)]
    pairs = ((attributes[f"x{end}"].strip(), attributes.get(f"y{end}", "").strip()) for end in ends)
    return [(float(x), float(y)) for x, y in pairs if _NUMBERS.fullmatch(x) and _NUMBERS.fullmatch(y)]
