"""The levels that stand for a coordinate of a random unit vector with the least squared error: Lloyd and Max's.

From the coordinate's known density, never from data. Knows nothing of tensors.
"""

from functools import cache

import numpy as np

_POINTS = 40_001
_ROUNDS = 10_000
_FAR = 12.0
"""Standard deviations, behind which nothing lies that counts."""
_STILL = 1e-9
"""Levels that move less than this, of a standard deviation, have arrived."""


@cache
def levels(bits: int, width: int) -> tuple[float, ...]:
    """2^bits of them, ascending, for coordinates of a random vector of `width` numbers whose mean square is 1.

    A coordinate t of a unit vector has the density (1 - t^2)^((width - 3) / 2) on [-1, 1] (arXiv 2504.19874, lemma 1),
    which is close to a Gaussian of variance 1 / width. Each level is the mean of what is nearer to it than to any
    other (Lloyd, IEEE IT 28, 1982; Max, IRE IT 6, 1960). `width` is 2 at least.
    """
    # In angles, t = sin(a): the density of `a` is cos(a)^(width - 2), finite at both ends for every width.
    end = np.arcsin(min(1.0, _FAR / np.sqrt(width)))
    angles = np.linspace(-end, end, _POINTS)
    density = np.cos(angles) ** (width - 2)
    points = np.sin(angles) * np.sqrt(width)
    weight, moment = _summed(density), _summed(density * points)
    found = np.interp((np.arange(2**bits) + 0.5) / 2**bits, weight / weight[-1], points)
    for _ in range(_ROUNDS):
        cuts = np.concatenate([points[:1], (found[1:] + found[:-1]) / 2, points[-1:]])
        # Between the points as well: rounded to them, levels would stop where they happen to be.
        moved = np.diff(np.interp(cuts, points, moment)) / np.diff(np.interp(cuts, points, weight))
        arrived = np.abs(moved - found).max() < _STILL
        found = moved
        if arrived:
            break
    # Both halves are the same but for their sign; what adding up left of a difference is taken out.
    return tuple(((found - found[::-1]) / 2).tolist())


def _summed(density: np.ndarray) -> np.ndarray:
    """How much lies before each point, by the trapezium rule."""
    return np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
