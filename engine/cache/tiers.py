"""Prefixes in memory with the disk behind them: what is not here, or much shorter, may still lie there.

Knows no model but for how its fresh caches are made. Used on the engine's thread.
"""

import logging
from collections.abc import Callable, Sequence

from mlx_lm.models.cache import can_trim_prompt_cache

from engine.api.events import CacheCounts
from engine.cache.disk import DiskStore
from engine.cache.entry_file import DamagedEntry
from engine.cache.keys import Key, Scope
from engine.cache.plain import array_of, freeze, thaw
from engine.cache.prefix import Found, PrefixCache
from engine.cache.state import Caches

log = logging.getLogger("fovea.engine")


class TieredPrefixCache(PrefixCache):
    """`fresh` makes the caches of one sequence; `free` says how many bytes of memory there are for copies."""

    def __init__(self, max_bytes: int, disk: DiskStore, fresh: Callable[[], Caches], free: Callable[[], int]) -> None:
        super().__init__(max_bytes)
        self._disk = disk
        self._fresh = fresh
        self._free = free

    def find(self, scope: Scope, key: Key, stops: Sequence[int]) -> Found | None:
        here = self.reach(scope, key, stops)
        found = self._disk.find(scope, key, stops, here)
        if found is not None:
            name, size = found
            if size <= min(self.max_bytes, self._free() // 2) and self._fetch(name, scope):
                self._disk.saved(self.reach(scope, key, stops) - here)
        return super().find(scope, key, stops)

    def store(self, scope: Scope, key: Key, caches: Caches) -> bool:
        news = super().store(scope, key, caches)
        size = sum(layer.nbytes for layer in caches)
        if news and size <= self._free() and self._disk.wants(scope, key, size):
            try:
                tree, arrays = freeze(caches)
            except ValueError as error:
                log.info("A prompt is not kept on the disk: %s", error)
            else:
                self._disk.put(scope, key, can_trim_prompt_cache(caches), tree, arrays)
        return news

    def reset(self) -> None:
        super().reset()
        self._disk.reset()

    def close(self) -> None:
        """What waits to be written is, or is dropped."""
        self._disk.close()

    @property
    def disk_counts(self) -> CacheCounts:
        return self._disk.counts

    def _fetch(self, name: str, scope: Scope) -> bool:
        """From the disk into memory."""
        caches = self._fresh()
        head, arrays = self._disk.read(name)
        try:
            thaw(head.tree, [array_of(array) for array in arrays], caches)
        except (DamagedEntry, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            log.warning("An entry of the disk cannot be used and is removed: %s", error)
            self._disk.forget(name)
            return False
        return super().store(scope, head.key, caches)
