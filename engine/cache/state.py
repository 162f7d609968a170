"""What the caches of one sequence hold, taken out of them and put into fresh ones.

Knows no class of cache but lists of caches: a state is what mlx-lm's caches call so, a tree of arrays and numbers.
"""

from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx
from mlx.utils import tree_map
from mlx_lm.models.cache import CacheList

Caches = list[Any]
"""mlx-lm's, one a layer, of one sequence."""


def states(caches: Sequence[Any]) -> list[Any]:
    """One a layer."""
    # Of a list of caches mlx-lm says the classes' names too; what is restored here is never told what class to make.
    return [states(layer.caches) if isinstance(layer, CacheList) else layer.state for layer in caches]


def restore(caches: Sequence[Any], held: Sequence[Any]) -> None:
    """Put `held` into caches of the kinds that it came from. Raises `ValueError` where it does not fit them."""
    for layer, state in zip(caches, held, strict=True):
        if isinstance(layer, CacheList):
            restore(layer.caches, state)
        else:
            layer.state = state


def settle(caches: Sequence[Any]) -> None:
    """Have the arrays computed, each in memory of its own: a row that was taken out of a batch keeps nothing of it."""
    restore(caches, [_each(mx.contiguous, state) for state in states(caches)])
    mx.async_eval([layer.state for layer in caches])


def _each(change: Callable[[mx.array], mx.array], state: Any) -> Any:
    return tree_map(lambda leaf: change(leaf) if isinstance(leaf, mx.array) else leaf, state)
