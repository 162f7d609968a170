"""Caches of a decoder that looks back at what an encoder has read: mlx-lm's own, with that beside them.

Knows no model. What was read is there in full before the first token and does not change.
"""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import BatchKVCache, KVCache

KeysValues = tuple[mx.array, mx.array]
"""(B, heads, S, d) each."""


class ReadKVCache(KVCache):
    """Of one sequence."""

    read: KeysValues | None = None
    read_mask: None = None

    @property
    def state(self) -> tuple[Any, ...]:
        return (self.keys, self.values, self.offset, *(self.read or ()))

    @state.setter
    def state(self, value: tuple[Any, ...]) -> None:
        self.keys, self.values, self.offset, *read = value
        self.read = tuple(read) if read else None

    @property
    def nbytes(self) -> int:
        return super().nbytes + sum(array.nbytes for array in self.read or ())

    def to_quantized(self, group_size: int = 64, bits: int = 4) -> "ReadKVCache":
        """Itself: such models write short answers, and most of the cache is what was read."""
        return self

    @classmethod
    def merge(cls, caches: Sequence["ReadKVCache"]) -> "BatchReadKVCache":
        return BatchReadKVCache.merge(caches)


class BatchReadKVCache(BatchKVCache):
    """Of several, each of which has read something: it begins at the left, `read_mask` (B, 1, 1, S) ends it."""

    read: KeysValues
    read_mask: mx.array

    @classmethod
    def merge(cls, caches: Sequence[ReadKVCache]) -> "BatchReadKVCache":
        """Each with at least one token of its own."""
        merged = super().merge(caches)
        length = max(cache.read[0].shape[2] for cache in caches)
        kept = [cache.read[0].shape[2] for cache in caches]
        merged.read = tuple(mx.concatenate([_longer(c.read[part], length) for c in caches]) for part in (0, 1))
        merged.read_mask = (mx.arange(length) < mx.array(kept)[:, None])[:, None, None]
        return merged

    def filter(self, batch_indices: Any) -> None:
        super().filter(batch_indices)
        self.read = tuple(part[batch_indices] for part in self.read)
        self.read_mask = self.read_mask[batch_indices]

    def extend(self, other: "BatchReadKVCache") -> None:
        super().extend(other)
        length = max(self.read_mask.shape[-1], other.read_mask.shape[-1])
        self.read = tuple(
            mx.concatenate([_longer(mine, length), _longer(theirs, length)])
            for mine, theirs in zip(self.read, other.read, strict=True)
        )
        masks = (
            mx.pad(mask, [*[(0, 0)] * 3, (0, length - mask.shape[-1])]) for mask in (self.read_mask, other.read_mask)
        )
        self.read_mask = mx.concatenate([*masks])

    def extract(self, idx: int) -> ReadKVCache:
        own, cache = super().extract(idx), ReadKVCache()
        cache.keys, cache.values, cache.offset = own.keys, own.values, own.offset
        kept = self.read_mask[idx].sum().item()
        cache.read = tuple(part[idx : idx + 1, :, :kept] for part in self.read)
        return cache


def _longer(part: mx.array, length: int) -> mx.array:
    return mx.pad(part, [(0, 0), (0, 0), (0, length - part.shape[2]), (0, 0)])
