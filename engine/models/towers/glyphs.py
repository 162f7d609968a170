"""Letters found on a map of letter probabilities, put into reading order. NumPy only.

Knows nothing of how the map was made or of what is done with the letters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# What the model was trained with; neighbours within this distance are the same letter seen twice.
_NEAR_ROWS, _NEAR_COLUMNS = 2, 1
_LINE_GAP = 2.5

Cell = tuple[int, int]


@dataclass(frozen=True, slots=True)
class GlyphRules:
    characters: str
    threshold: float
    """How sure a cell must be that it holds any letter at all."""
    max_kept: int
    """Cells that are looked at further."""
    count: int
    """Letters that are handed on."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "GlyphRules":
        rules = config["glyph_decode"]
        return cls(config["trunk"]["chars"], rules["threshold"], rules["max_kept"], rules["max"])


@dataclass(frozen=True, slots=True)
class Glyphs:
    letters: np.ndarray = field(repr=False)
    """(count, characters) float32: what each letter may be; rows of zeros where there is none."""
    places: np.ndarray = field(repr=False)
    """(count, 5) float32: column, row, line, distance to the letter before, sureness (0: no letter)."""
    text: str
    """All of them as read, lines parted by a space."""


def read_glyphs(logits: np.ndarray, rules: GlyphRules) -> Glyphs:
    """`logits` (H, W, characters + 1), the last one for none."""
    p = _softmax(logits.astype(np.float32))
    height, width, blank = p.shape[0], p.shape[1], len(rules.characters)
    score = 1 - p[..., blank]
    letters = np.zeros((rules.count, blank), np.float32)
    places = np.zeros((rules.count, 5), np.float32)
    lines = _lines(_kept(score, rules))
    found = [(number, before, cell) for number, line in enumerate(lines) for before, cell in _pairs(line)]
    for i, (number, before, (row, column)) in enumerate(found[: rules.count]):
        likely = p[row, column, :blank]
        letters[i] = likely / likely.sum()
        distance = (column - before[1]) / 10 if before else 0
        places[i] = column / width - 0.5, row / height - 0.5, number * 0.5, distance, score[row, column]
    best = p[..., :blank].argmax(-1)
    text = " ".join("".join(rules.characters[best[cell]] for cell in line) for line in lines)
    return Glyphs(letters, places, text)


def _softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _kept(score: np.ndarray, rules: GlyphRules) -> list[Cell]:
    """The surest cells first, each pushing aside its neighbours; equals stay in raster order."""
    cells = np.argwhere(score > rules.threshold)
    order = np.argsort(-score[tuple(cells.T)], kind="stable")
    kept: list[Cell] = []
    for row, column in cells[order].tolist():
        if all(abs(r - row) > _NEAR_ROWS or abs(c - column) > _NEAR_COLUMNS for r, c in kept):
            kept.append((row, column))
        if len(kept) == rules.max_kept:
            break
    return kept


def _lines(cells: list[Cell]) -> list[list[Cell]]:
    """Top to bottom, a new line where the next cell lies clearly lower; each line left to right."""
    lines: list[list[Cell]] = []
    last_row = -np.inf
    for row, column in sorted(cells):
        if row - last_row > _LINE_GAP:
            lines.append([])
        lines[-1].append((row, column))
        last_row = row
    return [sorted(line, key=lambda cell: cell[1]) for line in lines]


def _pairs(line: list[Cell]) -> list[tuple[Cell | None, Cell]]:
    return list(zip([None, *line], line, strict=False))
