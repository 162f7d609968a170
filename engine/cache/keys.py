"""How a key says what caches hold: one number for each token, and how much of two keys is alike.

Knows nothing of caches, nor of where entries are kept.
"""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

Scope = tuple[str | None, ...]
"""What keeps apart what must not be shared: another adapter, another tenant."""

Key = np.ndarray
"""(L,) int64."""


def common(first: Key, second: Key) -> int:
    """How many numbers two keys begin with alike."""
    length = min(len(first), len(second))
    differing = np.flatnonzero(first[:length] != second[:length])
    return int(differing[0]) if len(differing) else length


def usable(held: Key, trimmable: bool, wanted: Key, stops: Sequence[int]) -> int:
    """How many tokens of `wanted` an entry under the key `held` saves: up to one of `stops` (ascending).

    What is not `trimmable` can only be had as a whole: windows and recurrent states have no way back.
    """
    alike = common(held, wanted)
    # There may be as many stops as tokens: too many to be made an array of for each entry.
    at = bisect_right(stops, alike)
    saved = stops[at - 1] if at else 0
    return saved if trimmable or saved == len(held) else 0
