"""Feature maps resized by bilinear interpolation between cell centres, with smoothing and without.

Knows nothing of pictures. Gives the numbers of PyTorch's `interpolate(mode="bilinear", align_corners=False)`.
"""

import mlx.core as mx
import numpy as np


def resized(features: mx.array, height: int, width: int, *, corners: bool = False) -> mx.array:
    """(H, W, D) -> (height, width, D), not smoothed. `corners`: those of the old map are those of the new one, as
    PyTorch has it with `align_corners=True`."""
    rows = _along_rows(features, height, corners)
    return _along_rows(rows.swapaxes(0, 1), width, corners).swapaxes(0, 1)


def _along_rows(features: mx.array, count: int, corners: bool) -> mx.array:
    if corners:
        places = mx.arange(count).astype(mx.float32) * (features.shape[0] - 1) / max(count - 1, 1)
    else:
        places = mx.maximum((mx.arange(count) + 0.5) * (features.shape[0] / count) - 0.5, 0)
    before = mx.floor(places).astype(mx.int32)
    after = mx.minimum(before + 1, features.shape[0] - 1)
    share = (places - before)[:, None, None].astype(features.dtype)
    return features[before] * (1 - share) + features[after] * share


def smoothly_resized(features: mx.array, height: int, width: int) -> mx.array:
    """(H, W, D) -> (height, width, D), smoothed where it shrinks: PyTorch's with `antialias=True`."""
    down, across = (mx.array(_triangles(*sizes)) for sizes in zip(features.shape[:2], (height, width), strict=True))
    rows = mx.tensordot(down, features.astype(mx.float32), 1)
    return (across @ rows).astype(features.dtype)


def _triangles(old: int, new: int) -> np.ndarray:
    """(new, old) float32: what each new cell takes of the old ones, as far as its own width reaches to either side."""
    scale = old / new
    centres = scale * (np.arange(new) + 0.5)
    distances = np.abs(np.arange(old) + 0.5 - centres[:, None]) / max(scale, 1.0)
    weights = np.maximum(1 - distances, 0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
