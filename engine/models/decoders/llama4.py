"""Llama 4's decoder on mlx-lm's layers: attention within stretches of the text, caches that can be put side by side.

Knows nothing of pictures. mlx-lm's own takes no embeddings, no batch, and another epsilon than the reference
(transformers `modeling_llama4.py`).
"""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.base import create_attention_mask, scaled_dot_product_attention
from mlx_lm.models.cache import BatchKVCache, KVCache
from mlx_lm.models.llama4 import Attention, LanguageModel, LlamaModel, TextArgs

from engine.api.errors import CheckpointError
from engine.models.base import Config


class StretchCache(KVCache):
    """A token sees those before it in its own stretch of `length` tokens, which begin where the text does."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def make_mask(self, N: int, return_array: bool = False, window_size: int | None = None) -> Any:
        if self.offset + N <= self.length:
            return super().make_mask(N, return_array=return_array, window_size=window_size)
        return within(self.length, mx.arange(self.offset, self.offset + N), mx.arange(self.offset + N))

    @classmethod
    def merge(cls, caches: Sequence["StretchCache"]) -> "BatchStretchCache":
        return BatchStretchCache.merge(caches)


class BatchStretchCache(BatchKVCache):
    length: int

    def make_mask(self, N: int, return_array: bool = False, **options: Any) -> mx.array:
        places = mx.arange(self._idx + N) - self.left_padding[:, None, None]
        own = super().make_mask(N, return_array=True, **options)
        return own & within(self.length, places[..., self._idx :], places)

    @classmethod
    def merge(cls, caches: Sequence[StretchCache]) -> "BatchStretchCache":
        batch = super().merge(caches)
        batch.length = caches[0].length
        return batch

    def extract(self, idx: int) -> StretchCache:
        row, cache = super().extract(idx), StretchCache(self.length)
        cache.keys, cache.values, cache.offset = row.keys, row.values, row.offset
        return cache


def within(length: int, queries: mx.array, keys: mx.array) -> mx.array:
    """Positions (..., N) and (..., K) -> (..., N, K) bool: keys that are not behind, and in the same stretch."""
    queries, keys = queries[..., :, None], keys[..., None, :]
    return (keys <= queries) & (keys // length == queries // length)


class TunedAttention(Attention):
    """Layers whose queries are not turned grow with their position instead (arXiv 2501.19399)."""

    eps: float

    def __call__(self, x: mx.array, mask: Any = None, cache: Any = None) -> mx.array:
        queries, keys, values = (
            y.reshape(*y.shape[:2], -1, self.head_dim).swapaxes(1, 2)
            for y in (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        )
        if self.use_rope:
            queries, keys = self.rope(queries, offset=cache.offset), self.rope(keys, offset=cache.offset)
            if self.use_qk_norm:
                queries, keys = (mx.fast.rms_norm(y, None, self.eps) for y in (queries, keys))
        elif self.attn_temperature_tuning:
            queries = (queries * self._growth(cache.offset, x.shape[1])).astype(queries.dtype)
        keys, values = cache.update_and_fetch(keys, values)
        mixed = scaled_dot_product_attention(queries, keys, values, cache=cache, scale=self.scale, mask=mask)
        return self.o_proj(mixed.swapaxes(1, 2).flatten(2))

    def _growth(self, offset: int | mx.array, count: int) -> mx.array:
        """(B or 1, 1, count, 1)."""
        numbers = mx.array(offset).reshape(-1, 1, 1, 1) + mx.arange(1, count + 1)[:, None]
        return mx.log1p(mx.floor(numbers / self.floor_scale)) * self.attn_scale + 1


class StretchModel(LlamaModel):
    def __call__(self, inputs: mx.array, cache: Sequence[Any], input_embeddings: mx.array | None = None) -> mx.array:
        """(B, L) or (B, L, D) -> (B, L, D)."""
        h = self.embed_tokens(inputs) if input_embeddings is None else input_embeddings
        masks: dict[bool, Any] = {}
        for layer, own in zip(self.layers, cache, strict=True):
            turned = bool(layer.self_attn.use_rope)
            if turned not in masks:
                masks[turned] = create_attention_mask(h, own)
            h = layer(h, masks[turned], cache=own)
        return self.norm(h)


class Llama4Decoder(LanguageModel):
    def __init__(self, args: TextArgs) -> None:
        super().__init__(args)
        self.model.__class__ = StretchModel
        for layer in self.layers:
            layer.self_attn.__class__ = TunedAttention
            layer.self_attn.eps = args.rms_norm_eps

    @property
    def layers(self) -> list[nn.Module]:
        return self.model.layers

    def __call__(
        self, inputs: mx.array, cache: Sequence[Any] | None = None, input_embeddings: mx.array | None = None
    ) -> mx.array:
        """(B, L) -> logits (B, L, V)."""
        return self.lm_head(self.model(inputs, self.make_cache() if cache is None else cache, input_embeddings))

    def make_cache(self) -> list[KVCache]:
        length = self.args.attention_chunk_size
        return [StretchCache(length) if layer.self_attn.use_rope else KVCache() for layer in self.layers]

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        """Experts as (E, out, in) each; transformers keeps them as (E, in, out), gate and up as one."""
        kept = {}
        for name, tensor in weights.items():
            block, _, part = name.rpartition(".experts.")
            if part == "gate_up_proj":
                gate, up = mx.split(tensor.swapaxes(1, 2), 2, axis=1)
                kept |= {f"{block}.experts.gate_proj.weight": gate, f"{block}.experts.up_proj.weight": up}
            elif part == "down_proj":
                kept[f"{name}.weight"] = tensor.swapaxes(1, 2)
            else:
                kept[name] = tensor
        return kept


def build_llama4(config: Config) -> Llama4Decoder:
    """The decoder of a normalised text config. Raises `CheckpointError` for one that mlx-lm's layers do not fit."""
    layers = range(config["num_hidden_layers"])
    step = config["interleave_moe_layer_step"]
    turned = [(layer + 1) % 4 != 0 for layer in layers]
    wanted: dict[str, Any] = {
        "no_rope_layers": [int(turns) for turns in turned],
        "layer_types": ["chunked_attention" if turns else "full_attention" for turns in turned],
        "moe_layers": [layer for layer in layers if layer % step == step - 1],
        "num_experts_per_tok": 1,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
    }
    for name, known in wanted.items():
        if config[name] != known:
            raise CheckpointError(f"The text_config says {name}: {config[name]}, which is not known for Llama 4.")
    if not config["attention_chunk_size"]:
        raise CheckpointError("The text_config gives no attention_chunk_size.")
    return Llama4Decoder(TextArgs.from_dict(dict(config)))
