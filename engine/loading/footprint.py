"""How much memory conversations take, by length: told from caches that the model itself fills, without computing.

Knows nothing of devices. MLX is lazy: a token is run through the model, and only the shapes of what it leaves are
looked at. So windows, recurrent layers, latent caches and layers that share one are what they are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import ArraysCache, CacheList, ChunkedKVCache, RotatingKVCache

from engine.api.model_facts import ContextMemory
from engine.api.settings import CacheSettings
from engine.cache.packed import Packed
from engine.cache.scheme import compress
from engine.models.base import VisionLanguageModel

LENGTHS = (4096, 8192, 32768)
"""Tokens; the model's own context comes on top."""


@dataclass(frozen=True, slots=True)
class LayerCache:
    """Bytes."""

    fixed: int = 0
    a_token: int = 0
    most_tokens: int | None = None
    """That are kept; `None` for all."""

    def bytes(self, tokens: int) -> int:
        return self.fixed + self.a_token * min(tokens, self.most_tokens or tokens)


def context_memory(model: VisionLanguageModel, weight_bytes: int, context_length: int) -> tuple[ContextMemory, ...]:
    """At `LENGTHS` and at the whole context. The weights of `model` are not read."""
    layers = measure_caches(model)
    lengths = [length for length in LENGTHS if length < context_length or not context_length]
    lengths += [context_length] if context_length else []
    return tuple(
        ContextMemory(tokens, weight_bytes + sum(layer.bytes(tokens) for layer in layers)) for tokens in lengths
    )


def measure_caches(model: VisionLanguageModel, settings: CacheSettings = CacheSettings()) -> list[LayerCache]:  # noqa: B008
    """Of the caches that a sequence gets under these settings."""
    cache = compress(model.make_cache(settings.max_kv_size), settings)
    model(mx.zeros((1, 1), dtype=mx.int32), cache)
    return [_measured(layer) for layer in _flat(cache)]


def _flat(cache: Sequence[Any]) -> Iterator[Any]:
    for layer in cache:
        if isinstance(layer, CacheList):
            yield from _flat(layer.caches)
        else:
            yield layer


def _measured(layer: Any) -> LayerCache:
    if isinstance(layer, ArraysCache):
        return LayerCache(fixed=layer.nbytes)
    if layer.keys is None:
        return LayerCache()
    held = layer.keys.capacity if isinstance(layer.keys, Packed) else layer.keys.shape[2]
    a_token = layer.nbytes // held
    most = {RotatingKVCache: "max_size", ChunkedKVCache: "chunk_size"}
    name = next((name for kind, name in most.items() if isinstance(layer, kind)), None)
    return LayerCache(a_token=a_token, most_tokens=getattr(layer, name) if name else None)
