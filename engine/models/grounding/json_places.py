"""Boxes and points written as JSON objects: Qwen-VL's, GLM's and Gemini's way.

Knows no family. The list around the objects may be cut short, fenced or missing.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from engine.api.events import Region
from engine.models.grounding.question import Locate, Point, Question, Unit, region

_OBJECT = re.compile(r"\{[^{}]*\}")

_BOXES, _POINTS = ("bbox_2d", "box_2d", "bbox", "box"), ("point_2d", "point")

_LABELS = ("label", "text_content", "text", "name")


def json_places(unit: Unit, *, rows_first: bool = False) -> Locate:
    """Objects such as `{"bbox_2d": [x1, y1, x2, y2], "label": "cat"}` and `{"point_2d": [x, y]}`; with `rows_first`
    each y stands before its x."""

    def locate(answer: str, question: Question) -> tuple[Region, ...]:
        found = []
        for text in _OBJECT.findall(answer) if question.sizes else ():
            entry = _read(text)
            points = _points(entry, rows_first)
            if points:
                label = next((str(entry[key]) for key in _LABELS if entry.get(key)), "")
                found.append(region(label, points, unit, question))
        return tuple(found)

    return locate


def _read(text: str) -> Mapping[str, Any]:
    try:
        return json.loads(text)
    except ValueError:
        return {}


def _points(entry: Mapping[str, Any], rows_first: bool) -> list[Point]:
    for keys, count in ((_BOXES, 4), (_POINTS, 2)):
        numbers = next((entry[key] for key in keys if key in entry), None)
        if isinstance(numbers, list) and len(numbers) == count and all(map(_is_number, numbers)):
            pairs = zip(numbers[::2], numbers[1::2], strict=True)
            return [(second, first) if rows_first else (first, second) for first, second in pairs]
    return []


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
