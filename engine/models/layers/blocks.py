"""Attention in both directions inside blocks of a prompt, by caches that put the blocks into the mask they give.

Knows nothing of what a block is. mlx-lm's decoders ask their cache for the mask, so none of them has to be changed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_lm.models.cache import KVCache, RotatingKVCache

from engine.cache.codec import Codec
from engine.cache.compressed import BatchCompressedKVCache, CompressedKVCache


class _BlockMask:
    """In front of an mlx-lm cache."""

    blocks: mx.array | None = None
    """(N,) of the N tokens of this step: the number of a token's block, or -1 for one that looks back only."""

    whole: bool = False
    """Whether a token of a block sees all of it, or only as far back as the layer's window reaches."""

    def make_mask(self, N: int, return_array: bool = False, window_size: int | None = None) -> Any:
        """(N, K) bool where there are blocks, else what the cache itself says."""
        if self.blocks is None or N == 1:
            return super().make_mask(N, return_array=return_array, window_size=window_size)
        mask = super().make_mask(N, return_array=True, window_size=window_size)
        same = (self.blocks[:, None] == self.blocks) & (self.blocks >= 0)
        if not self.whole:
            same = mx.triu(same, k=1)
        return mask | mx.pad(same, [(0, 0), (mask.shape[1] - N, 0)])


class BlockKVCache(_BlockMask, KVCache):
    def compressed(self, key_codec: Codec, value_codec: Codec) -> "BlockCompressedKVCache":
        return BlockCompressedKVCache(key_codec, value_codec)


class BlockCompressedKVCache(_BlockMask, CompressedKVCache):
    @classmethod
    def merge(cls, caches: Sequence[CompressedKVCache]) -> "BatchBlockCompressedKVCache":
        return BatchBlockCompressedKVCache.merge(caches)


class BatchBlockCompressedKVCache(BatchCompressedKVCache):
    """Rows that have read their blocks; taken out, a row can read more of them."""

    single = BlockCompressedKVCache


class BlockRotatingKVCache(_BlockMask, RotatingKVCache):
    pass


def looking_ahead(cache: Sequence[Any]) -> list[Any]:
    """Caches like these fresh ones of mlx-lm's, that know of blocks."""
    return [
        BlockRotatingKVCache(layer.max_size, layer.keep) if isinstance(layer, RotatingKVCache) else BlockKVCache()
        for layer in cache
    ]


@contextmanager
def seen_both_ways(cache: Sequence[Any], blocks: mx.array, *, whole: bool) -> Iterator[None]:
    """Let the layers of `cache` look both ways inside `blocks` (N,) in the step that is called in here; `whole`:
    though a window be shorter."""
    for layer in cache:
        layer.blocks, layer.whole = blocks, whole
    try:
        yield
    finally:
        for layer in cache:
            layer.blocks = None


def stretches(inside: np.ndarray) -> np.ndarray:
    """(N,) bool -> (N,) the number of each unbroken stretch, -1 outside."""
    starts = inside & ~np.concatenate([[False], inside[:-1]])
    return np.where(inside, starts.cumsum() - 1, -1)


def stops_around(stops: Sequence[int], inside: np.ndarray) -> list[int]:
    """`stops` with those that would part a stretch of `inside` (L,) moved behind it."""
    moved = []
    for stop in stops:
        while 0 < stop < len(inside) and inside[stop - 1] and inside[stop]:
            stop += 1
        moved.append(stop)
    return [stop for before, stop in pairwise([0, *moved]) if stop > before]
