"""What prompts computed before have left behind, found again by how a new one begins.

Knows nothing of models: a key is numbers, an entry is the caches of one sequence. Bounded by bytes; what was used
longest ago goes first.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from mlx_lm.models.cache import CacheList, RotatingKVCache, can_trim_prompt_cache, trim_prompt_cache

Caches = list[Any]
"""mlx-lm's, one a layer, of one sequence."""


class Found(NamedTuple):
    caches: Caches
    """The caller's own."""
    length: int
    """Tokens they hold."""


@dataclass(slots=True)
class PrefixStats:
    hits: int = 0
    misses: int = 0
    tokens_saved: int = 0
    evictions: int = 0
    entries: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Entry:
    key: np.ndarray = field(repr=False)
    """(L,) int64: one number for each token that the caches hold."""
    caches: Caches = field(repr=False)
    trimmable: bool
    """Whether any beginning of it can be had, or only the whole: windows and recurrent states have no way back."""
    bytes: int


class PrefixCache:
    """`scope` keeps apart what must not be shared: another adapter, another tenant."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._entries: OrderedDict[tuple[Hashable, bytes], _Entry] = OrderedDict()
        self._stats = PrefixStats()

    def find(self, scope: Hashable, key: np.ndarray, stops: Sequence[int]) -> Found | None:
        """The longest beginning of `key` (L,) that is here and ends at one of `stops` (ascending), as a copy."""
        best, best_length = None, 0
        for name, entry in self._entries.items():
            if name[0] != scope:
                continue
            length = _usable(entry, key, stops)
            if length > best_length:
                best, best_length = name, length
        if best is None:
            self._stats.misses += 1
            return None
        self._entries.move_to_end(best)
        self._stats.hits += 1
        self._stats.tokens_saved += best_length
        entry = self._entries[best]
        caches = deepcopy(entry.caches)
        if len(entry.key) > best_length:
            trim_prompt_cache(caches, len(entry.key) - best_length)
        return Found(caches, best_length)

    def store(self, scope: Hashable, key: np.ndarray, caches: Caches) -> None:
        """Keep `caches`, which hold `key` (L,) and are the cache's own from now on."""
        size = sum(layer.nbytes for layer in caches)
        if not len(key) or size > self.max_bytes:
            return
        entry = _Entry(key, caches, can_trim_prompt_cache(caches), size)
        if entry.trimmable:
            self._forget(self._beginnings_of(scope, key))
        self._entries[scope, key.tobytes()] = entry
        self._entries.move_to_end((scope, key.tobytes()))
        self._shrink(self.max_bytes)

    def shrink(self, max_bytes: int) -> None:
        """Let go of the oldest until no more than `max_bytes` are held."""
        self._shrink(max_bytes)

    def reset(self) -> None:
        self._entries.clear()
        self._stats = PrefixStats()

    @property
    def bytes(self) -> int:
        return sum(entry.bytes for entry in self._entries.values())

    @property
    def stats(self) -> PrefixStats:
        self._stats.entries, self._stats.bytes = len(self._entries), self.bytes
        return self._stats

    def _beginnings_of(self, scope: Hashable, key: np.ndarray) -> list[tuple[Hashable, bytes]]:
        """Entries that a longer one makes superfluous."""
        return [
            name
            for name, entry in self._entries.items()
            if name[0] == scope and len(entry.key) <= len(key) and _common(entry.key, key) == len(entry.key)
        ]

    def _forget(self, names: Iterable[tuple[Hashable, bytes]]) -> None:
        for name in names:
            del self._entries[name]

    def _shrink(self, max_bytes: int) -> None:
        held = self.bytes
        while self._entries and held > max_bytes:
            _, entry = self._entries.popitem(last=False)
            held -= entry.bytes
            self._stats.evictions += 1


def has_way_back(caches: Iterable[Any], tokens: int) -> bool:
    """Whether caches can be trimmed once they hold so many tokens: windows forget, recurrent states never could."""
    for layer in caches:
        if isinstance(layer, CacheList):
            if not has_way_back(layer.caches, tokens):
                return False
        elif not layer.is_trimmable() or (isinstance(layer, RotatingKVCache) and layer.max_size <= tokens):
            return False
    return True


def _usable(entry: _Entry, key: np.ndarray, stops: Sequence[int]) -> int:
    common = _common(entry.key, key)
    if not entry.trimmable:
        return len(entry.key) if common == len(entry.key) and common in stops else 0
    at = int(np.searchsorted(stops, common, side="right"))
    return stops[at - 1] if at else 0


def _common(first: np.ndarray, second: np.ndarray) -> int:
    """How many numbers two keys begin with alike."""
    length = min(len(first), len(second))
    differing = np.flatnonzero(first[:length] != second[:length])
    return int(differing[0]) if len(differing) else length
