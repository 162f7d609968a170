"""Resizes bytes to the numbers of PyTorch's antialiased `interpolate`, which torchvision's processors use.

Knows nothing of models. Pillow's resizing differs by a level here and there: its weights have more bits. Source of the
maths: PyTorch `aten/src/ATen/native/cpu/UpSampleKernel.cpp` (int16 weights, one pass a side, width first).
"""

from math import ceil

import numpy as np
from PIL.Image import Resampling

Pair = tuple[int, int]

_REACH = {Resampling.BILINEAR: 1.0, Resampling.BICUBIC: 2.0}
"""How far a filter looks to either side, in pixels of the coarser picture."""

_BITS = 15
"""Of a weight, the sign left out."""

_MOST_FRACTION = 22

_LINES_AT_ONCE = 32
"""New lines made by one product of matrices: few enough that most of what is multiplied is not zero."""


def torch_resize(pixels: np.ndarray, size: Pair, resample: int) -> np.ndarray:
    """(H, W, C) uint8 -> (height, width, C) uint8, as torchvision's `resize(..., antialias=True)` does it on a CPU."""
    height, width = size
    if pixels.shape[1] != width:
        pixels = _resized_lines(pixels.swapaxes(0, 1), width, Resampling(resample)).swapaxes(0, 1)
    if pixels.shape[0] != height:
        pixels = _resized_lines(pixels, height, Resampling(resample))
    return np.ascontiguousarray(pixels)


def _resized_lines(lines: np.ndarray, count: int, resample: Resampling) -> np.ndarray:
    """(N, L, C) uint8 -> (count, L, C) uint8."""
    flat = np.ascontiguousarray(lines).reshape(len(lines), -1)
    first, weights, fraction = _weights(len(lines), count, resample)
    resized = np.empty((count, flat.shape[1]), np.uint8)
    for start in range(0, count, _LINES_AT_ONCE):
        stop = min(start + _LINES_AT_ONCE, count)
        seen = flat[first[start] : first[stop - 1] + weights.shape[1]]
        band = np.zeros((stop - start, len(seen) + weights.shape[1]))
        for line in range(start, stop):
            left = first[line] - first[start]
            band[line - start, left : left + weights.shape[1]] = weights[line]
        # In doubles whole numbers of this size are exact, and their products are the fast ones.
        total = band[:, : len(seen)] @ seen.astype(np.float64)
        resized[start:stop] = np.clip(np.floor((total + (1 << (fraction - 1))) / (1 << fraction)), 0, 255)
    return resized.reshape(count, *lines.shape[1:])


def _weights(old: int, new: int, resample: Resampling) -> tuple[np.ndarray, np.ndarray, int]:
    """Of each new pixel the first old one it looks at (new,) and what it takes of that and the next ones (new, taps)
    int32, and how many of their bits are behind the point."""
    scale = old / new
    reach = _REACH[resample] * max(scale, 1.0)
    centres = scale * (np.arange(new) + 0.5)
    first = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    behind = np.minimum((centres + reach + 0.5).astype(np.int64), old)
    taps = np.arange(ceil(reach) * 2 + 1)
    distances = (taps + first[:, None] - centres[:, None] + 0.5) / max(scale, 1.0)
    exact = np.where(taps < (behind - first)[:, None], _filtered(np.abs(distances), resample), 0.0)
    exact /= exact.sum(axis=1, keepdims=True)
    fraction = _fraction_bits(float(exact.max()))
    whole = exact * (1 << fraction)
    return first, np.trunc(whole + np.copysign(0.5, whole)).astype(np.int32), fraction


def _fraction_bits(largest: float) -> int:
    """As many as still leave the largest weight in its bits."""
    return next(
        (bits for bits in range(_MOST_FRACTION) if int(0.5 + largest * (1 << (bits + 1))) >= 1 << _BITS),
        _MOST_FRACTION,
    )


def _filtered(distance: np.ndarray, resample: Resampling) -> np.ndarray:
    """The triangle, or the cubic of Keys with a = -0.5 (as antialiasing takes it, not the -0.75 of plain bicubic)."""
    if resample is Resampling.BILINEAR:
        return np.maximum(1 - distance, 0)
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
