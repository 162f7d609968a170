"""How well one colour can be read on another, after WCAG 2.2.

Knows no theme; colours are `#rrggbb`.
"""

TEXT_RATIO = 4.5
"""What WCAG AA asks of text in ordinary sizes."""
SHAPE_RATIO = 3.0
"""What it asks of icons and focus rings."""

_STEPS = 20


def contrast_ratio(one: str, other: str) -> float:
    """1 (the same) to 21 (black on white)."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def make_readable(colour: str, background: str, text: str) -> str:
    """`colour`, moved towards `text` just as far as it takes to be readable on `background`."""
    for step in range(_STEPS):
        candidate = _mix(colour, text, step / _STEPS)
        if contrast_ratio(candidate, background) >= TEXT_RATIO:
            return candidate
    return text


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in _channels(colour))]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _mix(one: str, other: str, share: float) -> str:
    pairs = zip(_channels(one), _channels(other), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)
