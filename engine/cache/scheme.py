"""From what the settings say of the KV cache to caches that keep it.

Knows no model: which of a model's caches can be compressed is told from what they are.
"""

from typing import Any, Protocol, runtime_checkable

from mlx_lm.models.cache import KVCache

from engine.api.errors import RequestError
from engine.api.settings import CacheSettings, KVScheme
from engine.cache.codec import Codec
from engine.cache.compressed import CompressedKVCache
from engine.cache.turboquant import TurboQuant
from engine.cache.uniform import Uniform

DEFAULT_GROUP_SIZE = 64


@runtime_checkable
class Compressible(Protocol):
    """A cache of a kind of its own that knows its compressed self."""

    def compressed(self, key_codec: Codec, value_codec: Codec) -> CompressedKVCache:
        """An empty one that gives the same masks."""
        ...


def codecs(settings: CacheSettings) -> tuple[Codec, Codec] | None:
    """For keys and for values; `None` where both stay as they are."""
    bits = settings.kv_bits
    if bits is None:
        return None
    if settings.kv_quant_scheme is KVScheme.UNIFORM:
        uniform = Uniform(int(bits), settings.kv_group_size or DEFAULT_GROUP_SIZE)
        return uniform, uniform
    # Half a bit more is a bit more for values alone.
    return TurboQuant(int(bits)), TurboQuant(int(bits + 0.5))


def compress(caches: list[Any], settings: CacheSettings) -> list[Any]:
    """A model's fresh `caches`, one a layer, with compressed ones in the place of those that keep every token.

    Others stay as they are: windows, recurrent states, what was read once. Raises `RequestError` where none is left to
    be compressed, so that `kv_bits` never goes unheard.
    """
    chosen = codecs(settings)
    if chosen is None:
        return caches
    kept = [_compressed(layer, *chosen) for layer in caches]
    if not any(isinstance(layer, CompressedKVCache) for layer in kept):
        windows = settings.max_kv_size is not None
        raise RequestError(
            "kv_bits changes nothing here: no layer of this model keeps keys and values of all tokens.",
            "Leave out max_kv_size, which makes windows of them, or kv_bits." if windows else "Leave it out.",
            code="unsupported_option",
        )
    return kept


def _compressed(layer: Any, key_codec: Codec, value_codec: Codec) -> Any:
    if isinstance(layer, Compressible):
        return layer.compressed(key_codec, value_codec)
    return CompressedKVCache(key_codec, value_codec) if type(layer) is KVCache else layer
