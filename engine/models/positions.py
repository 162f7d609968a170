"""Where a prompt's tokens stand for a decoder that tells time, height and width apart (M-RoPE, arXiv 2409.12191).

Knows nothing of decoders. A feature of a picture stands where it lies in the picture, and text goes on behind it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import repeat
from math import prod

import numpy as np

Grid = tuple[int, int, int]
"""Features in time, height and width."""


@dataclass(frozen=True, slots=True)
class Positions:
    axes: np.ndarray = field(repr=False)
    """(3, L) int32: time, height and width of each token of the prompt."""

    @property
    def shift(self) -> int:
        """What is added to a later token's number in its sequence: it goes on behind the largest position."""
        return int(self.axes.max()) + 1 - self.axes.shape[1]


def grid_positions(
    length: int, slots: np.ndarray, grids: Iterable[Grid], intervals: Iterable[float] = repeat(1)
) -> Positions:
    """Of a prompt of `length` tokens whose `slots` (N,) take the features of `grids`, each in a stretch of its own;
    `intervals` are the positions from one step in time to the next.

    Behind a grid the text goes on as if the grid were as long as its longer side, however long it takes (transformers
    `get_rope_index`).
    """
    axes = np.empty((3, length), np.int32)
    written, position, taken = 0, 0, 0
    for grid, interval in zip(grids, intervals, strict=False):
        first, count = int(slots[taken]), prod(grid)
        axes[:, written:first] = position + np.arange(first - written)
        position += first - written
        places = np.indices(grid).reshape(3, count)
        places[0] = (places[0].astype(np.float32) * np.float32(interval)).astype(np.int32)
        axes[:, first : first + count] = position + places
        position += max(grid[1:])
        written, taken = first + count, taken + count
    axes[:, written:] = position + np.arange(length - written)
    return Positions(axes)
