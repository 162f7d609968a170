"""What towers have seen, kept by the digest of picture and settings: the same picture is looked at once.

Knows nothing of towers. Bounded by bytes; what was used longest ago goes first.
"""

from collections import OrderedDict

import mlx.core as mx

from engine.api.events import CacheCounts
from engine.cache.counts import Counts
from engine.cache.keys import Scope


class FeatureCache:
    """`scope` keeps apart what must not be shared: another adapter, another tenant."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._features: OrderedDict[tuple[Scope, str], mx.array] = OrderedDict()
        self._bytes = 0
        self._counts = Counts()

    def find(self, scope: Scope, digest: str) -> mx.array | None:
        """(N, D)"""
        features = self._features.get((scope, digest))
        if features is None:
            self._counts.misses += 1
            return None
        self._features.move_to_end((scope, digest))
        self._counts.found()
        return features

    def store(self, scope: Scope, digest: str, features: mx.array) -> None:
        """`features` (N, D), evaluated."""
        if features.nbytes > self.max_bytes:
            return
        replaced = self._features.pop((scope, digest), None)
        self._bytes += features.nbytes - (0 if replaced is None else replaced.nbytes)
        self._features[scope, digest] = features
        self.shrink(self.max_bytes)

    def shrink(self, max_bytes: int) -> None:
        """Let go of the oldest until no more than `max_bytes` are held."""
        while self._features and self._bytes > max_bytes:
            _, gone = self._features.popitem(last=False)
            self._bytes -= gone.nbytes
            self._counts.evictions += 1

    def reset(self) -> None:
        self._features.clear()
        self._bytes = 0
        self._counts = Counts()

    @property
    def bytes(self) -> int:
        return self._bytes

    @property
    def counts(self) -> CacheCounts:
        return self._counts.told(len(self._features), self._bytes)
