"""BART (arXiv 1910.13461): an encoder reads the whole prompt, a decoder writes the answer and looks back at it.

Knows nothing of pictures. The protocol is that of mlx-lm's models, with `read` before the first call; what was read
lies in the caches. Source: transformers' `modeling_bart.py`.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.base import create_attention_mask

from engine.api.errors import CheckpointError
from engine.models.base import Config
from engine.models.decoders.read_cache import KeysValues, ReadKVCache
from engine.models.layers.activations import activation

FIRST = 2
"""Rows of the tables of positions that stand for none."""


@dataclass(slots=True)
class BartArgs:
    tie_word_embeddings: bool = True
    """Until a checkpoint turns out to have a head that differs from the embeddings."""


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def keys_values(self, x: mx.array) -> KeysValues:
        """(B, L, D) -> (B, heads, L, d) each."""
        return self._parted(self.k_proj(x)), self._parted(self.v_proj(x))

    def __call__(self, x: mx.array, seen: KeysValues, mask: mx.array | str | None = None) -> mx.array:
        """`x` (B, L, D) looks at what is `seen`."""
        queries = self._parted(self.q_proj(x))
        mixed = mx.fast.scaled_dot_product_attention(queries, *seen, scale=queries.shape[-1] ** -0.5, mask=mask)
        return self.out_proj(mixed.swapaxes(1, 2).reshape(x.shape))

    def _parted(self, x: mx.array) -> mx.array:
        return x.reshape(*x.shape[:2], self._heads, -1).swapaxes(1, 2)


class EncoderLayer(nn.Module):
    def __init__(self, config: Config, side: str) -> None:
        super().__init__()
        width, inner = config["d_model"], config[f"{side}_ffn_dim"]
        self._activation = activation(config["activation_function"])
        self.self_attn = Attention(width, config[f"{side}_attention_heads"])
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def __call__(self, x: mx.array) -> mx.array:
        x = self.self_attn_layer_norm(x + self.self_attn(x, self.self_attn.keys_values(x)))
        return self._fed_forward(x)

    def _fed_forward(self, x: mx.array) -> mx.array:
        return self.final_layer_norm(x + self.fc2(self._activation(self.fc1(x))))


class DecoderLayer(EncoderLayer):
    def __init__(self, config: Config, side: str) -> None:
        super().__init__(config, side)
        self.encoder_attn = Attention(config["d_model"], config[f"{side}_attention_heads"])
        self.encoder_attn_layer_norm = nn.LayerNorm(config["d_model"])

    def __call__(self, x: mx.array, mask: mx.array | str | None, cache: Any) -> mx.array:
        seen = cache.update_and_fetch(*self.self_attn.keys_values(x))
        x = self.self_attn_layer_norm(x + self.self_attn(x, seen, mask))
        x = self.encoder_attn_layer_norm(x + self.encoder_attn(x, cache.read, cache.read_mask))
        return self._fed_forward(x)


class Stack(nn.Module):
    def __init__(self, config: Config, side: str, layer: type[EncoderLayer]) -> None:
        super().__init__()
        self._last = config["max_position_embeddings"] - 1
        self.embed_positions = nn.Embedding(config["max_position_embeddings"] + FIRST, config["d_model"])
        self.layernorm_embedding = nn.LayerNorm(config["d_model"])
        self.layers = [layer(config, side) for _ in range(config[f"{side}_layers"])]

    def placed(self, x: mx.array, offset: int | mx.array) -> mx.array:
        """(B, L, D) with positions from `offset` on, a number or (B,). There are no more than there are: an answer that
        is longer stays at the last, where the reference fails."""
        positions = mx.expand_dims(mx.array(offset), -1) + mx.arange(x.shape[1])
        return self.layernorm_embedding(x + self.embed_positions(mx.minimum(positions, self._last) + FIRST))


class BartModel(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config["vocab_size"], config["d_model"])
        self.encoder = Stack(config, "encoder", EncoderLayer)
        self.decoder = Stack(config, "decoder", DecoderLayer)


class Bart(nn.Module):
    def __init__(self, config: Config) -> None:
        """From a normalised text config. Raises `CheckpointError` for one that is not known here."""
        super().__init__()
        if not config["tie_word_embeddings"]:
            raise CheckpointError("The config does not tie the embeddings, which is not known for BART.")
        if any(config.get(key) for key in ("normalize_before", "add_final_layer_norm", "add_bias_logits")):
            raise CheckpointError(
                "The text_config has normalize_before, add_final_layer_norm or add_bias_logits, not known for BART."
            )
        self.args = BartArgs()
        self._scale = sqrt(config["d_model"]) if config["scale_embedding"] else 1.0
        self.model = BartModel(config)

    @property
    def layers(self) -> list[DecoderLayer]:
        return self.model.decoder.layers

    def make_cache(self) -> list[ReadKVCache]:
        return [ReadKVCache() for _ in self.layers]

    def embedded(self, ids: mx.array) -> mx.array:
        """(B, L) -> (B, L, D)."""
        return self.model.embed_tokens(ids) * self._scale

    def read(self, embeddings: mx.array, cache: list[ReadKVCache]) -> None:
        """A prompt (1, S, D), into fresh caches."""
        x = self.model.encoder.placed(embeddings, 0)
        for layer in self.model.encoder.layers:
            x = layer(x)
        for layer, own in zip(self.layers, cache, strict=True):
            own.read = layer.encoder_attn.keys_values(x)

    def __call__(self, ids: mx.array, cache: list[Any], input_embeddings: mx.array | None = None) -> mx.array:
        """Logits (B, L, V) of the next tokens of answers."""
        x = self.embedded(ids) if input_embeddings is None else input_embeddings
        mask = create_attention_mask(x, cache[0])
        x = self.model.decoder.placed(x, cache[0].offset)
        for layer, own in zip(self.layers, cache, strict=True):
            x = layer(x, mask, own)
        return self.model.embed_tokens.as_linear(x) if self.args.tie_word_embeddings else self.lm_head(x)

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        """Drops copies of the embeddings, and a bias of the logits that is zero in every checkpoint."""
        unused = {"final_logits_bias", *(f"model.{side}.embed_tokens.weight" for side in ("encoder", "decoder"))}
        if self.args.tie_word_embeddings:
            unused.add("lm_head.weight")
        return {name: tensor for name, tensor in weights.items() if name not in unused}
