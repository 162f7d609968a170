"""Florence-2's projector (arXiv 2311.06242): places told apart by row and column, their mean before them, one layer.

Knows nothing of where its features come from. The places in time of clips, which no checkpoint takes, are left out: of
a picture it is the first, which adds 1 to every other channel.
"""

import mlx.core as mx
import mlx.nn as nn


class RowColumnEmbedding(nn.Module):
    def __init__(self, most: int, size: int) -> None:
        super().__init__()
        self.row_embeddings = nn.Embedding(most, size // 2)
        self.column_embeddings = nn.Embedding(most, size - size // 2)

    def __call__(self, height: int, width: int) -> mx.array:
        """(H, W, size)"""
        rows, columns = self.row_embeddings(mx.arange(height)), self.column_embeddings(mx.arange(width))
        parts = (columns[None], rows[:, None])
        return mx.concatenate([mx.broadcast_to(part, (height, width, part.shape[-1])) for part in parts], axis=-1)


class RowColumnProjector(nn.Module):
    """Its names are those that transformers gives."""

    def __init__(self, size: int, out_size: int, most: int) -> None:
        """`most` rows or columns."""
        super().__init__()
        self.image_position_embed = RowColumnEmbedding(most, size)
        self.image_projection = nn.Linear(size, out_size, bias=False)
        self.image_proj_norm = nn.LayerNorm(out_size)

    def __call__(self, x: mx.array) -> mx.array:
        """(H, W, size) -> (1 + H * W, out_size)."""
        height, width, size = x.shape
        first_frame = (mx.arange(size) % 2).astype(x.dtype)
        places = (x + self.image_position_embed(height, width) + first_frame).reshape(-1, size)
        seen = mx.concatenate([places.mean(axis=0, keepdims=True), places])
        return self.image_proj_norm(self.image_projection(seen))
