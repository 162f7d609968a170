"""What towers have seen, kept by the digest of picture and settings: the same picture is looked at once.

Knows nothing of towers. Bounded by bytes; what was used longest ago goes first.
"""

from collections import OrderedDict
from dataclasses import dataclass

import mlx.core as mx


@dataclass(slots=True)
class FeatureStats:
    hits: int = 0
    misses: int = 0
    evictions: int = 0
    entries: int = 0
    bytes: int = 0


class FeatureCache:
    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._features: OrderedDict[str, mx.array] = OrderedDict()
        self._bytes = 0
        self._stats = FeatureStats()

    def find(self, digest: str) -> mx.array | None:
        """(N, D)"""
        features = self._features.get(digest)
        if features is None:
            self._stats.misses += 1
            return None
        self._features.move_to_end(digest)
        self._stats.hits += 1
        return features

    def store(self, digest: str, features: mx.array) -> None:
        """`features` (N, D), evaluated."""
        if features.nbytes > self.max_bytes:
            return
        replaced = self._features.pop(digest, None)
        self._bytes += features.nbytes - (0 if replaced is None else replaced.nbytes)
        self._features[digest] = features
        self.shrink(self.max_bytes)

    def shrink(self, max_bytes: int) -> None:
        """Let go of the oldest until no more than `max_bytes` are held."""
        while self._features and self._bytes > max_bytes:
            _, gone = self._features.popitem(last=False)
            self._bytes -= gone.nbytes
            self._stats.evictions += 1

    def reset(self) -> None:
        self._features.clear()
        self._bytes = 0
        self._stats = FeatureStats()

    @property
    def bytes(self) -> int:
        return self._bytes

    @property
    def stats(self) -> FeatureStats:
        self._stats.entries, self._stats.bytes = len(self._features), self._bytes
        return self._stats
