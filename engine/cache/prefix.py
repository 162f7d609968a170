"""What prompts computed before have left behind, found again by how a new one begins.

Knows nothing of models: a key is numbers, an entry is the caches of one sequence. Bounded by bytes; what was used
longest ago goes first.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mlx_lm.models.cache import CacheList, RotatingKVCache, can_trim_prompt_cache, trim_prompt_cache

from engine.api.events import CacheCounts
from engine.cache.counts import Counts
from engine.cache.keys import Key, Scope, common, usable
from engine.cache.state import Caches, settle

Name = tuple[Scope, bytes]


class Found(NamedTuple):
    caches: Caches
    """The caller's own."""
    length: int
    """Tokens they hold."""


@dataclass(frozen=True, slots=True)
class _Entry:
    key: Key = field(repr=False)
    caches: Caches = field(repr=False)
    trimmable: bool
    bytes: int


class PrefixCache:
    """`scope` keeps apart what must not be shared: another adapter, another tenant."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._entries: OrderedDict[Name, _Entry] = OrderedDict()
        self._counts = Counts()

    def find(self, scope: Scope, key: Key, stops: Sequence[int]) -> Found | None:
        """The longest beginning of `key` (L,) that is here and ends at one of `stops` (ascending), as a copy."""
        name, length = self._best(scope, key, stops)
        if name is None:
            self._counts.misses += 1
            return None
        self._counts.found(length)
        self._entries.move_to_end(name)
        entry = self._entries[name]
        caches = deepcopy(entry.caches)
        if len(entry.key) > length:
            trim_prompt_cache(caches, len(entry.key) - length)
        return Found(caches, length)

    def reach(self, scope: Scope, key: Key, stops: Sequence[int]) -> int:
        """How many tokens `find` would save; counts as no use."""
        return self._best(scope, key, stops)[1]

    def store(self, scope: Scope, key: Key, caches: Caches) -> bool:
        """Keep `caches`, which hold `key` (L,) and are the cache's own from now on. Whether they were news: not if they
        are too large, or the beginning of what is here."""
        # First, so that an array's size is all that it keeps from being freed.
        settle(caches)
        size = sum(layer.nbytes for layer in caches)
        if not len(key) or size > self.max_bytes:
            return False
        entry = _Entry(key, caches, can_trim_prompt_cache(caches), size)
        if (longer := self._longer_than(scope, entry)) is not None:
            self._entries.move_to_end(longer)
            return False
        if entry.trimmable:
            self._forget(self._beginnings_of(scope, key))
        self._entries[scope, key.tobytes()] = entry
        self._entries.move_to_end((scope, key.tobytes()))
        self.shrink(self.max_bytes)
        return True

    def shrink(self, max_bytes: int) -> None:
        """Let go of the oldest until no more than `max_bytes` are held."""
        held = self.bytes
        while self._entries and held > max_bytes:
            _, entry = self._entries.popitem(last=False)
            held -= entry.bytes
            self._counts.evictions += 1

    def reset(self) -> None:
        self._entries.clear()
        self._counts = Counts()

    @property
    def bytes(self) -> int:
        return sum(entry.bytes for entry in self._entries.values())

    def close(self) -> None:
        """The model goes."""

    @property
    def counts(self) -> CacheCounts:
        return self._counts.told(len(self._entries), self.bytes)

    @property
    def disk_counts(self) -> CacheCounts | None:
        """Of what is kept on the disk as well; `None` where nothing is."""
        return None

    def _best(self, scope: Scope, key: Key, stops: Sequence[int]) -> tuple[Name | None, int]:
        best, best_length = None, 0
        for name, entry in self._of(scope):
            length = usable(entry.key, entry.trimmable, key, stops)
            if length > best_length:
                best, best_length = name, length
        return best, best_length

    def _of(self, scope: Scope) -> list[tuple[Name, _Entry]]:
        return [(name, entry) for name, entry in self._entries.items() if name[0] == scope]

    def _longer_than(self, scope: Scope, new: _Entry) -> Name | None:
        """An entry that makes a `new` one superfluous."""
        for name, entry in self._of(scope):
            whole = len(entry.key) == len(new.key)
            if (entry.trimmable or whole) and common(entry.key, new.key) == len(new.key):
                return name
        return None

    def _beginnings_of(self, scope: Scope, key: Key) -> list[Name]:
        """Entries that a longer one makes superfluous."""
        return [name for name, entry in self._of(scope) if common(entry.key, key) == len(entry.key)]

    def _forget(self, names: Iterable[Name]) -> None:
        for name in names:
            del self._entries[name]


def has_way_back(caches: Iterable[Any], tokens: int) -> bool:
    """Whether caches can be trimmed once they hold so many tokens: windows forget, recurrent states never could."""
    for layer in caches:
        if isinstance(layer, CacheList):
            if not has_way_back(layer.caches, tokens):
                return False
        elif not layer.is_trimmable() or (isinstance(layer, RotatingKVCache) and layer.max_size <= tokens):
            return False
    return True
