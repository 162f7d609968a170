"""Feature maps resized by bicubic interpolation between cell centres, with smoothing and without.

Knows nothing of pictures. Gives the numbers of PyTorch's `grid_sample(mode="bicubic", padding_mode="border",
align_corners=False)` at the centres of the new cells, and of its `interpolate(mode="bicubic", antialias=True)`.
"""

import mlx.core as mx
import numpy as np

SHARPNESS = -0.75
"""The free parameter of the cubic (Keys, 1981), as PyTorch takes it."""

SMOOTH_SHARPNESS = -0.5
"""The same where it smooths."""


def resized(features: mx.array, height: int, width: int) -> mx.array:
    """(H, W, D) -> (height, width, D), in float32, not smoothed."""
    return _applied(features, cubic_weights(features.shape[0], height), cubic_weights(features.shape[1], width))


def smoothly_resized(features: mx.array, height: int, width: int) -> mx.array:
    """(H, W, D) -> (height, width, D), in float32, smoothed where it shrinks."""
    return _applied(features, _smooth_weights(features.shape[0], height), _smooth_weights(features.shape[1], width))


def _applied(features: mx.array, rows: np.ndarray, columns: np.ndarray) -> mx.array:
    wide = mx.tensordot(mx.array(rows), features.astype(mx.float32), axes=1)
    return mx.tensordot(mx.array(columns), wide.swapaxes(0, 1), axes=1).swapaxes(0, 1)


def cubic_weights(size: int, count: int) -> np.ndarray:
    """(count, size) float32: how much each of `size` old cells gives to each new one."""
    places = (np.arange(count) + 0.5) * (size / count) - 0.5
    first = np.floor(places).astype(int) - 1
    weights = np.zeros((count, size))
    for tap in range(4):
        cells = np.clip(first + tap, 0, size - 1)
        np.add.at(weights, (np.arange(count), cells), _cubic(np.abs(places - (first + tap))))
    return weights.astype(np.float32)


def _smooth_weights(size: int, count: int) -> np.ndarray:
    """(count, size) float32: the cubic as wide as a new cell where that is wider than an old one."""
    scale = size / count
    distances = np.abs(np.arange(size) + 0.5 - scale * (np.arange(count) + 0.5)[:, None]) / max(scale, 1.0)
    weights = np.where(distances < 2, _cubic(distances, SMOOTH_SHARPNESS), 0.0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _cubic(distance: np.ndarray, sharpness: float = SHARPNESS) -> np.ndarray:
    near = ((sharpness + 2) * distance - (sharpness + 3)) * distance**2 + 1
    far = sharpness * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, far)
