"""Feature maps resized by bicubic interpolation between cell centres, without smoothing.

Knows nothing of pictures. Gives the numbers of PyTorch's `grid_sample(mode="bicubic", padding_mode="border",
align_corners=False)` at the centres of the new cells.
"""

import mlx.core as mx
import numpy as np

SHARPNESS = -0.75
"""The free parameter of the cubic (Keys, 1981), as PyTorch takes it."""


def resized(features: mx.array, height: int, width: int) -> mx.array:
    """(H, W, D) -> (height, width, D), in float32."""
    rows = mx.array(_weights(features.shape[0], height))
    columns = mx.array(_weights(features.shape[1], width))
    wide = mx.tensordot(rows, features.astype(mx.float32), axes=1)
    return mx.tensordot(columns, wide.swapaxes(0, 1), axes=1).swapaxes(0, 1)


def _weights(size: int, count: int) -> np.ndarray:
    """(count, size) float32: how much each of `size` old cells gives to each new one."""
    places = (np.arange(count) + 0.5) * (size / count) - 0.5
    first = np.floor(places).astype(int) - 1
    weights = np.zeros((count, size))
    for tap in range(4):
        cells = np.clip(first + tap, 0, size - 1)
        np.add.at(weights, (np.arange(count), cells), _cubic(np.abs(places - (first + tap))))
    return weights.astype(np.float32)


def _cubic(distance: np.ndarray) -> np.ndarray:
    near = ((SHARPNESS + 2) * distance - (SHARPNESS + 3)) * distance**2 + 1
    far = SHARPNESS * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, far)
