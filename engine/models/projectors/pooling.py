"""Molmo's projector (arXiv 2409.17146): the mean of a few patches asks them what they show, then a gated layer.

Knows nothing of which patches belong together.
"""

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from engine.api.errors import CheckpointError
from engine.models.base import Config
from engine.models.layers.gated_mlp import GatedMLP


class PoolingAttention(nn.Module):
    """From features of `width` channels; keys and values are those of single patches."""

    def __init__(self, config: Config, width: int):
        super().__init__()
        self._heads, self._kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        head, bias = config["head_dim"], config["attention_bias"]
        self.q_proj = nn.Linear(width, self._heads * head, bias=bias)
        self.k_proj = nn.Linear(width, self._kv_heads * head, bias=bias)
        self.v_proj = nn.Linear(width, self._kv_heads * head, bias=bias)
        self.o_proj = nn.Linear(self._heads * head, config["hidden_size"], bias=bias)

    def __call__(self, patches: mx.array, places: mx.array, real: mx.array) -> mx.array:
        """(N, width), and for each of T features which patches it pools, and which of these are `real`, (T, P) each
        -> (T, hidden_size)."""
        count, length = places.shape
        weights = real / mx.maximum(real.sum(axis=1, keepdims=True), 1)
        means = (patches[places] * weights[..., None].astype(patches.dtype)).sum(axis=1)
        queries = self.q_proj(means).reshape(count, self._heads, 1, -1)
        keys, values = (
            projection(patches)[places].reshape(count, length, self._kv_heads, -1).swapaxes(1, 2)
            for projection in (self.k_proj, self.v_proj)
        )
        mixed = mx.fast.scaled_dot_product_attention(
            queries, keys, values, scale=queries.shape[-1] ** -0.5, mask=real[:, None, None]
        )
        return self.o_proj(mixed.reshape(count, -1))


class PoolingProjector(nn.Module):
    """Its names are those of the checkpoints."""

    def __init__(self, config: Config):
        """From a normalised `adapter_config`. Raises `CheckpointError` for one that is not known here."""
        super().__init__()
        if config["mlp_bias"] or not config.get("pooling_attention_mask", True):
            raise CheckpointError("The adapter_config has mlp_bias, or no pooling_attention_mask, not known here.")
        width = config["hidden_size"] * len(config["vision_feature_layer"])
        self.image_pooling_2d = PoolingAttention(config, width)
        self.image_projector = GatedMLP(
            config["hidden_size"],
            config["intermediate_size"],
            hidden_act=config["hidden_act"],
            bias=False,
            out=config["text_hidden_size"],
        )

    def __call__(self, patches: mx.array, pooled: np.ndarray) -> mx.array:
        """(crops, n, width), and (T, P) numbers of patches in all crops, -1 for none -> (T, text_hidden_size)."""
        flat = patches.reshape(-1, patches.shape[-1])
        seen = self.image_pooling_2d(flat, mx.array(pooled.clip(0)), mx.array(pooled >= 0))
        return self.image_projector(seen)
