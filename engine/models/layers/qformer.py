"""The Querying Transformer of BLIP-2 (arXiv 2301.12597): a few queries that look at each other and at what is seen.

Knows nothing of where either comes from. Post-norm, with the names of the checkpoints.
"""

from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn

from engine.models.layers.activations import activation


@dataclass(frozen=True, slots=True)
class QFormerConfig:
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    hidden_act: str
    layer_norm_eps: float
    cross_attention_frequency: int
    """Every so many layers the queries look at what is seen, from the first on."""


class Heads(nn.Module):
    def __init__(self, config: QFormerConfig):
        super().__init__()
        self._heads = config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)

    def __call__(self, queries: mx.array, seen: mx.array) -> mx.array:
        """(B, Q, D), (B, L, D) -> (B, Q, D)."""
        heads = (
            y.reshape(*y.shape[:-1], self._heads, -1).swapaxes(1, 2)
            for y in (self.query(queries), self.key(seen), self.value(seen))
        )
        scale = (queries.shape[-1] // self._heads) ** -0.5
        mixed = mx.fast.scaled_dot_product_attention(*heads, scale=scale)
        return mixed.swapaxes(1, 2).reshape(queries.shape)


class Output(nn.Module):
    """Projects, adds what was before, and normalises."""

    def __init__(self, in_size: int, config: QFormerConfig):
        super().__init__()
        self.dense = nn.Linear(in_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def __call__(self, x: mx.array, before: mx.array) -> mx.array:
        return self.LayerNorm(self.dense(x) + before)


class Attention(nn.Module):
    def __init__(self, config: QFormerConfig):
        super().__init__()
        self.attention = Heads(config)
        self.output = Output(config.hidden_size, config)

    def __call__(self, queries: mx.array, seen: mx.array) -> mx.array:
        return self.output(self.attention(queries, seen), queries)


class Intermediate(nn.Module):
    def __init__(self, config: QFormerConfig):
        super().__init__()
        self._activation = activation(config.hidden_act)
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)

    def __call__(self, x: mx.array) -> mx.array:
        return self._activation(self.dense(x))


class Layer(nn.Module):
    def __init__(self, config: QFormerConfig, number: int):
        super().__init__()
        self.attention = Attention(config)
        if number % config.cross_attention_frequency == 0:
            self.crossattention = Attention(config)
        self.intermediate_query = Intermediate(config)
        self.output_query = Output(config.intermediate_size, config)

    def __call__(self, queries: mx.array, seen: mx.array) -> mx.array:
        queries = self.attention(queries, queries)
        if "crossattention" in self:
            queries = self.crossattention(queries, seen)
        return self.output_query(self.intermediate_query(queries), queries)


class Encoder(nn.Module):
    def __init__(self, config: QFormerConfig):
        super().__init__()
        self.layer = [Layer(config, number) for number in range(config.num_hidden_layers)]


class QFormer(nn.Module):
    def __init__(self, config: QFormerConfig):
        super().__init__()
        self.layernorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.encoder = Encoder(config)

    def __call__(self, queries: mx.array, seen: mx.array) -> mx.array:
        """(B, Q, D) and what they look at (B, L, D) -> (B, Q, D)."""
        queries = self.layernorm(queries)
        for layer in self.encoder.layer:
            queries = layer(queries, seen)
        return queries
