"""A perceiver resampler (arXiv 2103.03206; as in Idefics2, arXiv 2405.02246): any number of patches to a fixed few.

Knows nothing of where its features come from. Learned latents look at the patches and at themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from engine.models.layers.gated_mlp import GatedMLP


@dataclass(frozen=True, slots=True)
class PerceiverConfig:
    width: int
    latents: int
    depth: int
    heads: int
    head_size: int
    kv_heads: int
    hidden_act: str
    eps: float

    @classmethod
    def read(cls, config: Mapping[str, Any], width: int) -> "PerceiverConfig":
        """Of a normalised `perceiver_config`; `width` is that of the decoder."""
        return cls(
            width=width,
            latents=config["resampler_n_latents"],
            depth=config["resampler_depth"],
            heads=config["resampler_n_heads"],
            head_size=config["resampler_head_dim"],
            kv_heads=config["num_key_value_heads"],
            hidden_act=config["hidden_act"],
            eps=config["rms_norm_eps"],
        )


class Attention(nn.Module):
    def __init__(self, config: PerceiverConfig):
        super().__init__()
        self._head_size = config.head_size
        self.q_proj = nn.Linear(config.width, config.heads * config.head_size, bias=False)
        self.k_proj = nn.Linear(config.width, config.kv_heads * config.head_size, bias=False)
        self.v_proj = nn.Linear(config.width, config.kv_heads * config.head_size, bias=False)
        self.o_proj = nn.Linear(config.heads * config.head_size, config.width, bias=False)

    def __call__(self, latents: mx.array, context: mx.array) -> mx.array:
        """(B, N, D) latents look at (B, L, D) and at each other."""
        seen = mx.concatenate([context, latents], axis=1)
        queries, keys, values = (
            y.reshape(*y.shape[:-1], -1, self._head_size).swapaxes(1, 2)
            for y in (self.q_proj(latents), self.k_proj(seen), self.v_proj(seen))
        )
        mixed = mx.fast.scaled_dot_product_attention(queries, keys, values, scale=self._head_size**-0.5)
        return self.o_proj(mixed.swapaxes(1, 2).reshape(*latents.shape[:-1], -1))


class Layer(nn.Module):
    def __init__(self, config: PerceiverConfig):
        super().__init__()
        self.input_latents_norm = nn.RMSNorm(config.width, config.eps)
        self.input_context_norm = nn.RMSNorm(config.width, config.eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.width, config.eps)
        self.mlp = GatedMLP(config.width, 4 * config.width, hidden_act=config.hidden_act, bias=False)

    def __call__(self, latents: mx.array, context: mx.array) -> mx.array:
        latents = latents + self.self_attn(self.input_latents_norm(latents), self.input_context_norm(context))
        return latents + self.mlp(self.post_attention_layernorm(latents))


class PerceiverResampler(nn.Module):
    """Its names are those of the checkpoints."""

    def __init__(self, config: PerceiverConfig):
        super().__init__()
        self.latents = mx.zeros((config.latents, config.width))
        self.layers = [Layer(config) for _ in range(config.depth)]
        self.norm = nn.RMSNorm(config.width, config.eps)

    def __call__(self, context: mx.array) -> mx.array:
        """(B, L, D) -> (B, latents, D)."""
        latents = mx.broadcast_to(self.latents, (len(context), *self.latents.shape)).astype(context.dtype)
        for layer in self.layers:
            latents = layer(latents, context)
        return self.norm(latents)
