"""Things kept by key, as many bytes of them as may be; what was used longest ago goes first.

Knows nothing of what they are: how large one is, it is told.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from engine.api.events import CacheCounts
from engine.cache.counts import Counts

Kept = TypeVar("Kept")


class Recent(Generic[Kept]):
    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._kept: OrderedDict[Hashable, tuple[Kept, int]] = OrderedDict()
        self._bytes = 0
        self._counts = Counts()

    def get(self, key: Hashable) -> Kept | None:
        if key not in self._kept:
            self._counts.misses += 1
            return None
        self._kept.move_to_end(key)
        self._counts.found()
        return self._kept[key][0]

    def put(self, key: Hashable, thing: Kept, size: int) -> None:
        """`size` in bytes; nothing is kept that is larger than all may be together."""
        if size > self.max_bytes:
            return
        _, replaced = self._kept.pop(key, (None, 0))
        self._bytes += size - replaced
        self._kept[key] = thing, size
        self.shrink(self.max_bytes)

    def shrink(self, max_bytes: int) -> None:
        """Let go of the oldest until no more than `max_bytes` are held."""
        while self._kept and self._bytes > max_bytes:
            _, (_, size) = self._kept.popitem(last=False)
            self._bytes -= size
            self._counts.evictions += 1

    def reset(self) -> None:
        self._kept.clear()
        self._bytes = 0
        self._counts = Counts()

    @property
    def bytes(self) -> int:
        return self._bytes

    @property
    def counts(self) -> CacheCounts:
        return self._counts.told(len(self._kept), self._bytes)
