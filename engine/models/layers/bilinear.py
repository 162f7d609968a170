"""Feature maps resized by bilinear interpolation between cell centres, without smoothing.

Knows nothing of pictures. Gives the numbers of PyTorch's `interpolate(mode="bilinear", align_corners=False)`.
"""

import mlx.core as mx


def resized(features: mx.array, height: int, width: int) -> mx.array:
    """(H, W, D) -> (height, width, D)."""
    rows = _along_rows(features, height)
    return _along_rows(rows.swapaxes(0, 1), width).swapaxes(0, 1)


def _along_rows(features: mx.array, count: int) -> mx.array:
    places = mx.maximum((mx.arange(count) + 0.5) * (features.shape[0] / count) - 0.5, 0)
    before = mx.floor(places).astype(mx.int32)
    after = mx.minimum(before + 1, features.shape[0] - 1)
    share = (places - before)[:, None, None].astype(features.dtype)
    return features[before] * (1 - share) + features[after] * share
