"""What a cache counts while it is used.

Knows nothing of what is kept.
"""

from dataclasses import dataclass

from engine.api.events import CacheCounts


@dataclass(slots=True)
class Counts:
    hits: int = 0
    misses: int = 0
    tokens_saved: int = 0
    evictions: int = 0

    def found(self, tokens: int = 0) -> None:
        self.hits += 1
        self.tokens_saved += tokens

    def told(self, entries: int, held: int) -> CacheCounts:
        """With what is held now: `entries`, of `held` bytes."""
        return CacheCounts(self.hits, self.misses, self.tokens_saved, self.evictions, entries, held)
