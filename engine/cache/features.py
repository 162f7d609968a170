"""What towers have seen, kept by the digest of picture and settings: the same picture is looked at once.

Knows nothing of towers.
"""

import mlx.core as mx

from engine.api.events import CacheCounts
from engine.cache.keys import Scope
from engine.cache.recent import Recent


class FeatureCache(Recent[mx.array]):
    """`scope` keeps apart what must not be shared: another adapter, another tenant."""

    def find(self, scope: Scope, digest: str) -> mx.array | None:
        """(N, D)"""
        return self.get((scope, digest))

    def store(self, scope: Scope, digest: str, features: mx.array) -> None:
        """`features` (N, D), evaluated."""
        self.put((scope, digest), features, features.nbytes)

    def close(self) -> None:
        """The model goes."""

    @property
    def disk_counts(self) -> CacheCounts | None:
        """Of what is kept on the disk as well; `None` where nothing is."""
        return None
