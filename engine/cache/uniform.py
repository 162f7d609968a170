"""Evenly spaced levels for each group of numbers, between the least and the largest of them: MLX's affine quantisation.

Knows nothing of caches.
"""

from dataclasses import dataclass
from typing import ClassVar

import mlx.core as mx

from engine.cache.codec import Encoded

GROUP_SIZES = (128, 64, 32)
"""That MLX has."""


@dataclass(frozen=True, slots=True)
class Uniform:
    """`bits` 2, 3, 4, 6 or 8. A scale and a bias for each `group_size` numbers, in the dtype of the numbers.

    A head whose size no group of that size fits has smaller groups; where not even 32 numbers fit, the last number of
    a vector is repeated up to the next multiple of 32, which leaves the range of its group as it was.
    """

    kind: ClassVar[str] = "uniform"

    bits: int
    group_size: int = 64

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.bits}-{self.group_size}"

    def encode(self, x: mx.array) -> Encoded:
        group, padding = self._groups(x.shape[-1])
        if padding:
            x = mx.pad(x, [*[(0, 0)] * (x.ndim - 1), (0, padding)], mode="edge")
        return tuple(mx.quantize(x, group_size=group, bits=self.bits))

    def decode(self, encoded: Encoded, width: int, dtype: mx.Dtype) -> mx.array:
        group, _ = self._groups(width)
        return mx.dequantize(*encoded, group_size=group, bits=self.bits, dtype=dtype)[..., :width]

    decode_turned = decode

    def turn(self, x: mx.array) -> mx.array:
        return x

    def turn_back(self, x: mx.array) -> mx.array:
        return x

    def bits_per_value(self, width: int, dtype: mx.Dtype) -> float:
        group, padding = self._groups(width)
        return (self.bits + 2 * 8 * dtype.size / group) * (width + padding) / width

    def _groups(self, width: int) -> tuple[int, int]:
        """The size of a group, and how many numbers a vector is filled up with."""
        fitting = (size for size in GROUP_SIZES if size <= self.group_size and width % size == 0)
        size = next(fitting, GROUP_SIZES[-1])
        return size, -width % size
