"""What a model will need in memory, against what is free: refused with numbers before anything is allocated.

Knows nothing of devices; free memory is a number that it is given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.api.errors import MemoryRefused
from engine.api.settings import EngineSettings
from engine.loading.buffers import NUMBER, TowerBuffers, first_of
from engine.loading.config import text_config
from engine.sizes import format_size

if TYPE_CHECKING:
    from engine.loading.checkpoint import Checkpoint

STATED_CONTEXT = 4096
"""Tokens that have to fit; longer conversations take what is free then."""

MOST_FOR_A_SLICE = 1 << 30
"""Bytes: beyond it a tower is no faster, and keeps others waiting for longer."""

SLOW_DEVICES_SLICE = 1 << 28
"""The same for a CPU, where what takes a GiB takes seconds."""

_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length", "seq_length")


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes."""

    weights: int
    cache: int
    media: int
    tokens: int
    """That `cache` holds."""

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.media


def context_length(config: Mapping[str, Any]) -> int:
    """Tokens the model was made for; 0 when the config does not say."""
    decoder = text_config(config)
    return next((int(decoder[key]) for key in _CONTEXT_KEYS if decoder.get(key)), 0)


def estimate(
    config: Mapping[str, Any], weight_bytes: int, max_kv_size: int | None = None, slice_bytes: int = MOST_FOR_A_SLICE
) -> Need:
    """`config` is normalised. Caches are counted as float32, the most they can be; pictures as one of the usual size at
    a time."""
    tokens = min(filter(None, (STATED_CONTEXT, context_length(config), max_kv_size)))
    tower = TowerBuffers.read(config, slice_bytes)
    cache = tokens * _cache_bytes_a_token(text_config(config))
    return Need(weight_bytes, cache, tower.usual if tower else 0, tokens)


def slice_bytes(settings: EngineSettings, free: int, most: int = MOST_FOR_A_SLICE) -> int:
    """What a layer of a tower may hold where so many bytes are free beside the weights."""
    return min(max(free // 8, 1), most) if settings.tower_bytes is None else settings.tower_bytes


def preflight(checkpoint: "Checkpoint", free: int, settings: EngineSettings) -> None:
    """Raises `MemoryRefused` unless weights, cache and picture buffers fit into `free` bytes."""
    sliced = slice_bytes(settings, free - checkpoint.weight_bytes)
    need = estimate(checkpoint.config, checkpoint.weight_bytes, settings.cache.max_kv_size, sliced)
    if need.total <= free:
        return
    parts = f"{format_size(need.weights)} for its weights, {format_size(need.cache)} for {need.tokens:,} tokens"
    if need.media:
        parts += f", {format_size(need.media)} for pictures"
    raise MemoryRefused(
        f"{checkpoint.info.name} needs {format_size(need.total)} of memory ({parts}); {format_size(free)} are free.",
        "Choose a smaller or a 4-bit version of the model, close other apps, or allow fewer tokens (--max-kv-size).",
    )


def _cache_bytes_a_token(decoder: Mapping[str, Any]) -> int:
    """Keys and values of all layers, as if none had a window: the most it can be. A decoder behind an encoder keeps
    those of what was read, and those of what it writes."""
    heads = first_of(decoder, "num_attention_heads", "n_head", "decoder_attention_heads")
    kv_heads = first_of(decoder, "num_key_value_heads") or heads
    width = first_of(decoder, "hidden_size", "n_embd", "d_model")
    head_dim = first_of(decoder, "head_dim") or width // max(heads, 1)
    layers = 2 * first_of(decoder, "decoder_layers") or first_of(decoder, "num_hidden_layers", "n_layer")
    return 2 * layers * kv_heads * head_dim * NUMBER
