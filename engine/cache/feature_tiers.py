"""What towers have seen, in memory with the disk behind it: a picture seen yesterday is not looked at again today.

Knows nothing of towers. Used on the engine's thread.
"""

import logging
from collections.abc import Callable
from hashlib import sha256

import mlx.core as mx
import numpy as np

from engine.api.events import CacheCounts
from engine.cache.disk import DiskStore
from engine.cache.entry_file import DamagedEntry
from engine.cache.features import FeatureCache
from engine.cache.keys import Key, Scope
from engine.cache.plain import array_of, stored_of

log = logging.getLogger("fovea.engine")


class TieredFeatureCache(FeatureCache):
    """`disk` has to keep what is as short as a key of a digest; `free` says how many bytes of memory there are for
    copies."""

    def __init__(self, max_bytes: int, disk: DiskStore, free: Callable[[], int]) -> None:
        super().__init__(max_bytes)
        self._disk = disk
        self._free = free

    def find(self, scope: Scope, digest: str) -> mx.array | None:
        found = super().find(scope, digest)
        if found is None and (found := self._fetched(scope, _key(digest))) is not None:
            super().store(scope, digest, found)
        return found

    def store(self, scope: Scope, digest: str, features: mx.array) -> None:
        super().store(scope, digest, features)
        key = _key(digest)
        if features.nbytes <= self._free() and self._disk.wants(scope, key, features.nbytes):
            self._disk.put(scope, key, False, "", [stored_of(features)])

    def reset(self) -> None:
        super().reset()
        self._disk.reset()

    def close(self) -> None:
        self._disk.close()

    @property
    def disk_counts(self) -> CacheCounts:
        return self._disk.counts

    def _fetched(self, scope: Scope, key: Key) -> mx.array | None:
        if (there := self._disk.find(scope, key, [len(key)], 0)) is None:
            return None
        name, _ = there
        try:
            # To the last one: only then is it known that the file is whole.
            (features,) = [array_of(stored) for stored in self._disk.read(name)[1]]
        except (DamagedEntry, OSError, ValueError) as error:
            log.warning("What was seen of a picture cannot be read again and is removed: %s", error)
            self._disk.forget(name)
            return None
        self._disk.saved(0)
        return features


def _key(digest: str) -> Key:
    """Four numbers, which are had as a whole or not at all."""
    return np.frombuffer(sha256(digest.encode()).digest(), "<i8").astype(np.int64)
