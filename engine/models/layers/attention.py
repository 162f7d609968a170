"""Attention over many patches, in pieces where a kernel would hold all scores at once.

Knows nothing of towers, nor of what a mask stands for.
"""

import mlx.core as mx

SCORES_BYTES = 128 << 20
"""That the scores of all heads take at a time where attention is not fused."""


def attended(
    queries: mx.array, keys: mx.array, values: mx.array, mask: mx.array | None = None, *, scale: float | None = None
) -> mx.array:
    """(B, heads, L, d), keys and values (B, heads, K, d) -> as the queries; some of these at a time. `mask`, broadcast
    to (B, heads, 1, K), says which keys are looked at; scores are multiplied by `scale`, by 1 / sqrt(d) without one."""
    count, heads, length, width = queries.shape
    step = max(1, SCORES_BYTES // (count * heads * keys.shape[2] * queries.itemsize))
    parts: list[mx.array] = []
    for first in range(0, length, step):
        some = queries[:, :, first : first + step]
        parts.append(mx.fast.scaled_dot_product_attention(some, keys, values, scale=scale or width**-0.5, mask=mask))
        if step < length:
            # Left to itself MLX has the scores of twenty pieces in memory at a time.
            mx.eval(parts[-1])
    return parts[0] if len(parts) == 1 else mx.concatenate(parts, axis=2)
