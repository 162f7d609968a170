"""What a model will need in memory, against what is free: refused with numbers before anything is allocated.

Knows nothing of devices; free memory is a number that it is given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.api.errors import MemoryRefused
from engine.api.settings import EngineSettings
from engine.loading.config import text_config
from engine.sizes import format_size

if TYPE_CHECKING:
    from engine.loading.checkpoint import Checkpoint

STATED_CONTEXT = 4096
"""Tokens that have to fit; longer conversations take what is free then."""

_TILES_AT_ONCE = 4
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


def estimate(config: Mapping[str, Any], weight_bytes: int, max_kv_size: int | None = None) -> Need:
    """`config` is normalised. Caches are counted as float32, the most they can be."""
    tokens = min(filter(None, (STATED_CONTEXT, context_length(config), max_kv_size)))
    return Need(weight_bytes, tokens * _cache_bytes_a_token(text_config(config)), _media_bytes(config), tokens)


def preflight(checkpoint: "Checkpoint", free: int, settings: EngineSettings) -> None:
    """Raises `MemoryRefused` unless weights, cache and picture buffers fit into `free` bytes."""
    need = estimate(checkpoint.config, checkpoint.weight_bytes, settings.cache.max_kv_size)
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
    """Keys and values of all layers, as if none had a window: the most it can be."""
    heads = _first(decoder, "num_attention_heads", "n_head")
    kv_heads = _first(decoder, "num_key_value_heads") or heads
    head_dim = _first(decoder, "head_dim") or _first(decoder, "hidden_size", "n_embd") // max(heads, 1)
    return 2 * _first(decoder, "num_hidden_layers", "n_layer") * kv_heads * head_dim * 4


def _media_bytes(config: Mapping[str, Any]) -> int:
    """The widest activations of a vision transformer's layer, float32, for the tiles that run at once."""
    tower = config.get("vision_config")
    if not isinstance(tower, Mapping):
        return 0
    side, patch = _first(tower, "image_size"), _first(tower, "patch_size")
    if not side or not patch:
        return 0
    patches = (side // patch) ** 2
    a_patch = 8 * _first(tower, "hidden_size") + 2 * _first(tower, "intermediate_size")
    scores = _first(tower, "num_attention_heads") * patches
    return _TILES_AT_ONCE * patches * (a_patch + scores) * 4


def _first(config: Mapping[str, Any], *keys: str) -> int:
    """The first of `keys` that is there, else 0; of a list (layers that differ) the largest."""
    value = next((config[key] for key in keys if config.get(key)), 0)
    return int(max(value)) if isinstance(value, (list, tuple)) else int(value)
