"""Numbers as flags take them, with the range each of them must be in.

Knows nothing of which flag is which.
"""

import argparse
import math
from collections.abc import Callable
from typing import Any


def at_least(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = _number(int, text, "a whole number")
        if value < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return value

    return parse


def number(allowed: Callable[[float], bool], words: str) -> Callable[[str], float]:
    """A parser of finite numbers that are `allowed`, which `words` describe."""

    def parse(text: str) -> float:
        value = _number(float, text, "a number")
        if not (math.isfinite(value) and allowed(value)):
            raise argparse.ArgumentTypeError(f"{text} is not {words}")
        return value

    return parse


def between(least: float, most: float) -> Callable[[str], float]:
    return number(lambda value: least <= value <= most, f"between {least:g} and {most:g}")


def _number(kind: Callable[[str], Any], text: str, name: str) -> Any:
    try:
        return kind(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not {name}") from error


NOT_NEGATIVE = number(lambda value: value >= 0, "0 or more")
POSITIVE = number(lambda value: value > 0, "above 0")
FRACTION = between(0, 1)
PROPORTION = number(lambda value: 0 < value <= 1, "above 0 and at most 1")
