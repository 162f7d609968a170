"""Attention over many patches, in pieces where a kernel would hold all scores at once.

Knows nothing of towers, nor of what a mask stands for.
"""

import mlx.core as mx

SCORES_AT_ONCE = 1 << 22
"""Of one head: bounds the memory of attention where it is not fused, to 16 MB a head."""


def attended(
    queries: mx.array, keys: mx.array, values: mx.array, mask: mx.array | None = None, *, scale: float | None = None
) -> mx.array:
    """(B, heads, L, d) each -> the same; some queries at a time. `mask`, broadcast to (B, heads, 1, L), says which keys
    are looked at; scores are multiplied by `scale`, by 1 / sqrt(d) without one."""
    count, _, length, width = queries.shape
    step = max(1, SCORES_AT_ONCE // (count * length))
    parts = [
        mx.fast.scaled_dot_product_attention(
            queries[:, :, first : first + step], keys, values, scale=scale or width**-0.5, mask=mask
        )
        for first in range(0, length, step)
    ]
    return mx.concatenate(parts, axis=2)
