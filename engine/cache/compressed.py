"""mlx-lm's KV caches, kept compressed: of one sequence, and of rows padded on the left.

Know no model: attention is given keys and values in the model's own dtype, decoded at each step; or, by whoever asks
for it, attended to without undoing what a codec did to all of them alike. Only what a step brings is encoded, and room
is made for `step` tokens at a time, as in mlx-lm.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar
from weakref import ref

import mlx.core as mx
from mlx_lm.models.cache import BatchKVCache, KVCache, dynamic_roll

from engine.cache.attention import AttendingCache, Mask
from engine.cache.codec import Codec
from engine.cache.codecs import codec_of
from engine.cache.packed import TOKENS, Packed, stacked


class _Compressed(AttendingCache):
    """What both kinds share. No attribute may be called `bits`: mlx-lm would run an attention of its own."""

    step: int
    key_codec: Codec
    value_codec: Codec
    keys: Packed | None
    values: Packed | None
    _given: tuple["ref[mx.array]", ...] = ()
    """The keys and values given out last, for as long as somebody has them: what was not evaluated costs nothing."""

    def attend(
        self, queries: mx.array, keys: mx.array, values: mx.array, scale: float, mask: Mask, sinks: mx.array | None
    ) -> mx.array:
        """A codec turns all keys alike, so that queries turned like them give the same products; and what is mixed of
        turned values is turned back as a whole."""
        turned = [id(given()) for given in self._given] == [id(keys), id(values)]
        if turned:
            queries = self.key_codec.turn(queries)
            keys, values = self.keys.read_turned(self.size()), self.values.read_turned(self.size())
        mixed = mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale, mask=mask, sinks=sinks)
        return self.value_codec.turn_back(mixed) if turned else mixed

    def keys_and_values(self) -> tuple[mx.array, mx.array]:
        return self.keys.read(self.size()), self.values.read(self.size())

    def _give(self) -> tuple[mx.array, mx.array]:
        given = self.keys_and_values()
        self._given = tuple(map(ref, given))
        return given

    def _append(self, start: int, keys: mx.array, values: mx.array) -> None:
        self.keys = self._written(self.keys, start, Packed.of(self.key_codec, keys))
        self.values = self._written(self.values, start, Packed.of(self.value_codec, values))

    def _written(self, held: Packed | None, start: int, new: Packed) -> Packed:
        stop = start + new.capacity
        if held is None:
            held = new.padded(0, self._room(stop) - stop)
        elif stop > held.capacity:
            held = held.padded(0, self._room(stop) - held.capacity)
        held.put(start, new)
        return held

    def _room(self, tokens: int) -> int:
        return -(-tokens // self.step) * self.step

    def _state(self) -> tuple[Any, ...]:
        keys, values = self.keys and self.keys.state, self.values and self.values.state
        return keys, values, self.key_codec.name, self.value_codec.name

    def _set_state(self, keys: Any, values: Any, key_codec: str, value_codec: str) -> None:
        self.key_codec = _named(key_codec, self.__dict__.get("key_codec"))
        self.value_codec = _named(value_codec, self.__dict__.get("value_codec"))
        self.keys = keys and Packed.from_state(self.key_codec, keys)
        self.values = values and Packed.from_state(self.value_codec, values)


def _named(name: str, known: Codec | None) -> Codec:
    """`known` where that is its name: the layers of a model share the tables of their codecs."""
    return known if known is not None and known.name == name else codec_of(name)


class CompressedKVCache(_Compressed, KVCache):
    """Of one sequence, whatever the number of rows that are of one length."""

    def __init__(self, key_codec: Codec, value_codec: Codec) -> None:
        super().__init__()
        self.key_codec, self.value_codec = key_codec, value_codec

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """(B, H, L, D) each -> (B, H, offset, D) each, these included."""
        self._append(self.offset, keys, values)
        self.offset += keys.shape[TOKENS]
        return self._give()

    @property
    def state(self) -> tuple[Any, ...]:
        return (*self._state(), self.offset)

    @state.setter
    def state(self, value: Sequence[Any]) -> None:
        *compressed, self.offset = value
        self._set_state(*compressed)

    def to_quantized(self, group_size: int = 64, bits: int = 4) -> "CompressedKVCache":
        """Itself, which is compressed already."""
        return self

    @classmethod
    def merge(cls, caches: Sequence["CompressedKVCache"]) -> "BatchCompressedKVCache":
        return BatchCompressedKVCache.merge(caches)


class BatchCompressedKVCache(_Compressed, BatchKVCache):
    """Of rows whose last tokens stand in one column; `left_padding` columns before a row's first are not its own."""

    single: ClassVar[type[CompressedKVCache]] = CompressedKVCache
    """What a row is once it is taken out."""

    def __init__(self, left_padding: Sequence[int], key_codec: Codec, value_codec: Codec) -> None:
        super().__init__(list(left_padding))
        self.key_codec, self.value_codec = key_codec, value_codec

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """(B, H, L, D) each -> (B, H, columns, D) each, these included."""
        self._append(self._idx, keys, values)
        self._idx += keys.shape[TOKENS]
        self.offset = self.offset + keys.shape[TOKENS]
        return self._give()

    def finalize(self) -> None:
        """Padding on the right, of which `prepare` was told, becomes padding on the left."""
        padding, self._right_padding = self._right_padding, None
        if padding is None:
            return
        self._change(lambda held: held.each(lambda part: dynamic_roll(part, padding[:, None], axis=2)))
        self.offset = self.offset - padding
        self.left_padding = self.left_padding + padding

    @property
    def state(self) -> tuple[Any, ...]:
        return (*self._state(), self.offset, self.left_padding, self._idx)

    @state.setter
    def state(self, value: Sequence[Any]) -> None:
        *compressed, self.offset, self.left_padding, self._idx = value
        self._set_state(*compressed)
        self._right_padding = None

    def filter(self, batch_indices: Any) -> None:
        """Keep just these rows, in place, and no column that is padding in all of them."""
        self.offset = self.offset[batch_indices]
        self.left_padding = self.left_padding[batch_indices]
        spare = self.left_padding.min().item()
        self.left_padding = self.left_padding - spare
        self._idx -= spare
        self._change(lambda held: held.each(lambda part: part[batch_indices][:, :, spare:]))

    def extend(self, other: "BatchCompressedKVCache") -> None:
        """Take the rows of `other` in, behind these."""
        last = max(self._idx, other._idx)
        filled = [batch for batch in (self, other) if batch.keys is not None]
        if filled:
            size = max(batch.keys.capacity for batch in filled)
            mine, theirs = (batch._right_aligned(filled[0], last, size) for batch in (self, other))
            self.keys, self.values = map(stacked, zip(mine, theirs, strict=True))
        self.left_padding = mx.concatenate([batch.left_padding + last - batch._idx for batch in (self, other)])
        self.offset = mx.concatenate([self.offset, other.offset])
        self._idx = last

    def extract(self, idx: int) -> CompressedKVCache:
        """A row by itself, without its padding."""
        row = self.single(self.key_codec, self.value_codec)
        if self.keys is not None:
            start = self.left_padding[idx].item()
            row.keys, row.values = (
                held.each(lambda part: mx.contiguous(part[idx : idx + 1, :, start : self._idx]))
                for held in (self.keys, self.values)
            )
            row.offset = self._idx - start
        return row

    @classmethod
    def merge(cls, caches: Sequence[CompressedKVCache]) -> "BatchCompressedKVCache":
        """Single sequences as the rows of one. Raises `ValueError` where they have been compressed in several ways."""
        longest = max(cache.offset for cache in caches)
        batch = cls([longest - cache.offset for cache in caches], caches[0].key_codec, caches[0].value_codec)
        if longest:
            like = next(cache for cache in caches if cache.offset)
            rows = [_right_aligned(cache, like, longest) for cache in caches]
            batch.keys, batch.values = map(stacked, zip(*rows, strict=True))
            batch._idx = longest
            batch.offset = batch.offset + longest
        return batch

    def _right_aligned(self, like: "BatchCompressedKVCache", last: int, size: int) -> list[Packed]:
        """Keys and values in `size` columns, of which those before `last` are written."""
        before = last - self._idx
        rows = len(self.offset)
        sides = [(self.keys, like.keys), (self.values, like.values)]
        held = [own or other.blank(rows, 0) for own, other in sides]
        return [side.padded(before, size - side.capacity - before) for side in held]

    def _change(self, change: Callable[[Packed], Packed]) -> None:
        self.keys, self.values = self.keys and change(self.keys), self.values and change(self.values)


def _right_aligned(cache: CompressedKVCache, like: CompressedKVCache, columns: int) -> list[Packed]:
    """Keys and values of one sequence, all of them written."""
    if not cache.offset:
        return [side.blank(1, columns) for side in (like.keys, like.values)]
    return [side.between(0, cache.offset).padded(columns - cache.offset, 0) for side in (cache.keys, cache.values)]
