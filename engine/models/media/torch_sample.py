"""Resizes bytes to the numbers of PyTorch's plain bilinear `interpolate`, in which pixels in between are passed over.

Knows nothing of models; `torch_resize` is the antialiased kind. Source of the maths: PyTorch
`aten/src/ATen/native/cpu/UpSampleKernel.cpp`, as it goes with several threads and more than 128 pixels in height and
width together; its other kernel rounds some halves otherwise.
"""

import numpy as np

from engine.models.recipes.pictures import Pair


def torch_sample(pixels: np.ndarray, size: Pair) -> np.ndarray:
    """(H, W, C) uint8 -> (height, width, C) uint8: as floats, bilinear, `antialias=False`, rounded to bytes again."""
    height, width = size
    wide = _resized_lines(pixels.astype(np.float32).swapaxes(0, 1), width).swapaxes(0, 1)
    return np.clip(np.round(_resized_lines(wide, height)), 0, 255).astype(np.uint8)


def _resized_lines(lines: np.ndarray, count: int) -> np.ndarray:
    """(N, L, C) float32 -> (count, L, C)."""
    scale = np.full(count, np.float32(len(lines)) / np.float32(count))
    places = np.maximum(_added(np.full(count, -0.5, np.float32), np.arange(count, dtype=np.float32) + 0.5, scale), 0)
    before = np.minimum(places.astype(np.int64), len(lines) - 1)
    share = np.clip(places - before.astype(np.float32), 0, 1)[:, None, None]
    behind = lines[np.minimum(before + 1, len(lines) - 1)] * share
    return _added(behind, lines[before], 1 - share)


def _added(total: np.ndarray, values: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """`total + values * factors`, rounded once as the processor does it, on which hangs which way a half is rounded."""
    return (total.astype(np.float64) + values.astype(np.float64) * factors.astype(np.float64)).astype(np.float32)
