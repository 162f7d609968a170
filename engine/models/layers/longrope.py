"""Rotary positions with two sets of waves (LongRoPE, arXiv 2402.13753): for texts as long as those of the training, and
for longer ones.

Knows nothing of decoders. transformers turns a whole text by the waves that its length asks for, mlx-lm every text by
the long ones. Here a text that becomes too long has its keys turned on, by what the waves differ.
"""

from collections.abc import Sequence
from math import log, sqrt
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.cache import BatchKVCache, KVCache

from engine.models.base import Config
from engine.models.layers.mrope import turned


class LongRope(nn.Module):
    def __init__(self, dims: int, config: Config) -> None:
        """Of the first `dims` channels; from a normalised config, in which rotary settings are complete."""
        super().__init__()
        settings = config["rope_parameters"]
        self.limit: int = settings.get("original_max_position_embeddings") or config["original_max_position_embeddings"]
        """Tokens; a longer text is turned by the long waves."""
        waves = settings["rope_theta"] ** (-mx.arange(0, dims, 2) / dims)
        self._dims = dims
        self._short = waves / mx.array(settings["short_factor"], mx.float32)
        self._long = waves / mx.array(settings["long_factor"], mx.float32)
        self._scale = _scale(settings, config["max_position_embeddings"] / self.limit, self.limit)

    def __call__(self, x: mx.array, offset: int | mx.array = 0) -> mx.array:
        """(B, heads, L, d) -> the same, turned; `offset` is one number, or one a row (B,)."""
        if isinstance(offset, int):
            waves = self._long if offset + x.shape[2] > self.limit else self._short
            scaled = x.at[..., : self._dims].multiply(self._scale)
            return mx.fast.rope(
                scaled, self._dims, traditional=False, base=None, scale=1.0, offset=offset, freqs=1 / waves
            )
        starts = offset[:, None, None, None]
        waves = mx.where(starts + x.shape[2] > self.limit, self._long, self._short)
        return self._turned(x, (starts + mx.arange(x.shape[2])[:, None]) * waves, self._scale)

    def lengthened(self, keys: mx.array, starts: mx.array, rows: mx.array) -> mx.array:
        """Keys (B, heads, L, d) that were turned by the short waves, those of each row from the position `starts` (B,)
        on -> by the long ones in these `rows` (B,) bool, the same in others."""
        positions = starts[:, None, None, None] + mx.arange(keys.shape[2])[:, None]
        return self._turned(keys, positions * (self._long - self._short) * rows[:, None, None, None], 1.0)

    def _turned(self, x: mx.array, angles: mx.array, scale: float) -> mx.array:
        first = turned(x[..., : self._dims], mx.cos(angles) * scale, mx.sin(angles) * scale)
        return mx.concatenate([first, x[..., self._dims :]], axis=-1)

    def __deepcopy__(self, memo: Any) -> "LongRope":
        """Copies of caches have their own keys, turned by the same module."""
        return self


def _scale(settings: Config, growth: float, limit: int) -> float:
    """What cosines and sines are multiplied with."""
    if settings.get("attention_factor") is not None:
        return settings["attention_factor"]
    growth = settings.get("factor") or growth
    return sqrt(1 + log(growth) / log(limit)) if growth > 1 else 1.0


class LongCache(KVCache):
    """Of a layer that `rope` turns."""

    def __init__(self, rope: LongRope) -> None:
        super().__init__()
        self.rope = rope

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        held = self.offset
        if 0 < held <= self.rope.limit < held + keys.shape[2]:
            self.keys[..., :held, :] = self.rope.lengthened(self.keys[..., :held, :], mx.zeros(1), mx.array([True]))
        return super().update_and_fetch(keys, values)

    def is_trimmable(self) -> bool:
        """From the long waves there is no way back."""
        return self.offset <= self.rope.limit

    @classmethod
    def merge(cls, caches: Sequence["LongCache"]) -> "BatchLongCache":
        return BatchLongCache.merge(caches)


class BatchLongCache(BatchKVCache):
    rope: LongRope

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        held = [self._idx - padding for padding in self.left_padding.tolist()]
        rows = [0 < length <= self.rope.limit < length + keys.shape[2] for length in held]
        if any(rows):
            before = self.keys[..., : self._idx, :]
            self.keys[..., : self._idx, :] = self.rope.lengthened(before, -self.left_padding, mx.array(rows))
        return super().update_and_fetch(keys, values)

    @classmethod
    def merge(cls, caches: Sequence[LongCache]) -> "BatchLongCache":
        batch = super().merge(caches)
        batch.rope = caches[0].rope
        return batch

    def extract(self, idx: int) -> LongCache:
        row, cache = super().extract(idx), LongCache(self.rope)
        cache.keys, cache.values, cache.offset = row.keys, row.values, row.offset
        return cache
