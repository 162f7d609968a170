"""Keys, or values, as a codec left them: room for tokens, written and read by their number.

Knows nothing of which rows or tokens count. Both ends of a cache (keys and values) are one of these each.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import mlx.core as mx

from engine.cache.codec import Codec, Encoded

TOKENS = -2
"""The axis of the tokens in every part."""


@dataclass(slots=True)
class Packed:
    """(B, H, capacity) vectors of `width` numbers that came in `dtype`, as `parts`."""

    codec: Codec
    width: int
    dtype: mx.Dtype
    parts: Encoded

    @classmethod
    def of(cls, codec: Codec, x: mx.array) -> "Packed":
        """Exactly the tokens of `x` (B, H, L, D)."""
        return cls(codec, x.shape[-1], x.dtype, codec.encode(x))

    @property
    def capacity(self) -> int:
        return self.parts[0].shape[TOKENS]

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.parts)

    def put(self, start: int, other: "Packed") -> None:
        """Write the tokens of `other` over those from `start` on."""
        stop = start + other.capacity
        for part, new in zip(self.parts, other.parts, strict=True):
            part[..., start:stop, :] = new

    def read(self, stop: int) -> mx.array:
        """(B, H, stop, D) in `dtype`."""
        if not stop:
            # MLX transforms nothing that is empty.
            return mx.zeros((*self.parts[0].shape[:TOKENS], 0, self.width), self.dtype)
        return self.codec.decode(self.between(0, stop).parts, self.width, self.dtype)

    def read_turned(self, stop: int) -> mx.array:
        """`Codec.turn` of what `read` gives, `stop` above 0."""
        return self.codec.decode_turned(self.between(0, stop).parts, self.width, self.dtype)

    def each(self, change: Callable[[mx.array], mx.array]) -> "Packed":
        """With `change` made to every part, (B, H, capacity, w) each."""
        return replace(self, parts=tuple(map(change, self.parts)))

    def between(self, start: int, stop: int) -> "Packed":
        return self.each(lambda part: part[..., start:stop, :])

    def padded(self, before: int, after: int) -> "Packed":
        """With so many vectors of zeros around, fewer where a number is negative."""
        kept = self.between(max(0, -before), self.capacity - max(0, -after))
        padding = [(0, 0), (0, 0), (max(0, before), max(0, after)), (0, 0)]
        return kept.each(lambda part: mx.pad(part, padding))

    def blank(self, rows: int, capacity: int) -> "Packed":
        """Vectors of zeros, otherwise like these."""
        return self.each(lambda part: mx.zeros((rows, part.shape[1], capacity, part.shape[3]), part.dtype))

    def __deepcopy__(self, memo: dict[int, Any]) -> "Packed":
        # Not field by field: MLX's dtypes cannot be copied.
        return self.each(lambda part: deepcopy(part, memo))

    @property
    def state(self) -> tuple[Any, ...]:
        return self.parts, self.width, str(self.dtype).removeprefix("mlx.core.")

    @classmethod
    def from_state(cls, codec: Codec, state: Sequence[Any]) -> "Packed":
        parts, width, dtype = state
        return cls(codec, width, getattr(mx, dtype), tuple(parts))


def stacked(rows: Sequence[Packed]) -> Packed:
    """Rows of one capacity in one, in order. Raises `ValueError` for rows of different codecs."""
    names = {row.codec.name for row in rows}
    if len(names) > 1:
        raise ValueError(f"caches of different codecs cannot be put together: {', '.join(sorted(names))}")
    parts = zip(*(row.parts for row in rows), strict=True)
    return replace(rows[0], parts=tuple(map(mx.concatenate, parts)))
