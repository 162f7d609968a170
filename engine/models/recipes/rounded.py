"""Pixel values as they come of bytes in bfloat16, as some of transformers' torchvision processors count.

Knows nothing of pictures' shapes.
"""

import numpy as np

from engine.models.recipes.pictures import Values


def in_bfloat16(numbers: np.ndarray) -> np.ndarray:
    """float32 -> the nearest bfloat16 of each, of two as near the even one, as float32 again."""
    bits = numbers.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


class RoundedValues(Values):
    """Rounded after each step: factor, mean, deviation."""

    __slots__ = ()

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        scaled = in_bfloat16(np.arange(256, dtype=np.float32) * np.float32(self.factor))
        mean, std = (in_bfloat16(np.array(numbers, np.float32))[:, None] for numbers in (self.mean, self.std))
        tables = in_bfloat16(in_bfloat16(scaled - mean) / std)
        return np.stack([table[pixels[..., channel]] for channel, table in enumerate(tables)], axis=-3)
