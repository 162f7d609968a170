"""Which settings of the KV cache there are, and which of a model's caches they change."""

import mlx.core as mx
import pytest
from mlx_lm.models.cache import ArraysCache, CacheList, KVCache, RotatingKVCache

from engine.api.errors import RequestError
from engine.api.settings import KV_BITS, CacheSettings, KVScheme
from engine.cache.compressed import CompressedKVCache
from engine.cache.scheme import codecs, compress
from engine.models.layers.blocks import BlockCompressedKVCache, BlockKVCache, BlockRotatingKVCache

TURBO = KVScheme.TURBOQUANT
FOUR = CacheSettings(kv_bits=4)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (FOUR, ("uniform-4-64", "uniform-4-64")),
        (CacheSettings(kv_bits=8.0, kv_group_size=32), ("uniform-8-32", "uniform-8-32")),
        (CacheSettings(kv_bits=3, kv_quant_scheme=TURBO), ("turboquant-3-0", "turboquant-3-0")),
        (CacheSettings(kv_bits=3.5, kv_quant_scheme=TURBO), ("turboquant-3-0", "turboquant-4-0")),
    ],
)
def test_settings_name_codecs(settings, names):
    assert tuple(codec.name for codec in codecs(settings)) == names


@pytest.mark.parametrize(("scheme", "bits"), [(scheme, bits) for scheme, known in KV_BITS.items() for bits in known])
def test_every_number_of_bits_that_is_offered_works(scheme, bits):
    (cache,) = compress([KVCache()], CacheSettings(kv_bits=bits, kv_quant_scheme=scheme))
    x = mx.random.normal((1, 1, 50, 64), key=mx.random.key(0))
    keys, values = cache.update_and_fetch(x, x)
    for found in (keys, values):
        assert mx.square(found - x).mean() < 0.25


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kv_bits": 5}, r"uniform scheme has no kv_bits of 5\..*turboquant has 2, 3, 3\.5, 4"),
        ({"kv_bits": 3.5}, r"uniform scheme has no kv_bits of 3\.5"),
        ({"kv_bits": 0}, "no kv_bits of 0"),
        ({"kv_bits": float("nan")}, "no kv_bits of nan"),
        ({"kv_bits": 8, "kv_quant_scheme": TURBO}, "turboquant scheme has no kv_bits of 8"),
        ({"kv_bits": 2.5, "kv_quant_scheme": TURBO}, r"turboquant scheme has no kv_bits of 2\.5"),
        ({"kv_bits": 4, "kv_group_size": 16}, r"kv_group_size is 16\..*32, 64, 128"),
        ({"kv_bits": 4, "kv_quant_scheme": TURBO, "kv_group_size": 64}, "turboquant scheme has no groups"),
        ({"kv_quant_scheme": TURBO}, "kv_quant_scheme says nothing without kv_bits"),
        ({"kv_group_size": 64}, "kv_group_size says nothing without kv_bits"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(RequestError) as caught:
        CacheSettings(**settings)
    assert caught.match(message)
    assert caught.value.hint


def test_nothing_is_changed_that_nobody_asked_for():
    given = [KVCache(), RotatingKVCache(8)]
    assert compress(given, CacheSettings()) is given


def test_caches_that_keep_every_token_are_compressed_and_others_are_not():
    class OfAKindOfItsOwn(KVCache):
        pass

    others = [RotatingKVCache(8), ArraysCache(2), CacheList(KVCache()), OfAKindOfItsOwn(), BlockRotatingKVCache(8)]
    first, *rest, last = compress([KVCache(), *others, KVCache()], FOUR)
    assert type(first) is type(last) is CompressedKVCache
    assert all(found is given for found, given in zip(rest, others, strict=True))


@pytest.mark.parametrize(("window", "hint"), [(8, "max_kv_size"), (None, "Leave it out")])
def test_bits_are_not_ignored_where_there_is_nothing_to_compress(window, hint):
    with pytest.raises(RequestError, match="kv_bits changes nothing") as caught:
        compress([RotatingKVCache(8)], CacheSettings(kv_bits=4, max_kv_size=window))
    assert hint in caught.value.hint


def test_caches_that_know_of_blocks_still_do():
    (cache,) = compress([BlockKVCache()], FOUR)
    assert type(cache) is BlockCompressedKVCache
    cache.blocks = mx.array([-1, 0, 0])
    expected = BlockKVCache()
    expected.blocks = cache.blocks
    assert mx.array_equal(cache.make_mask(3), expected.make_mask(3))
    cache.blocks = None
    assert cache.make_mask(3) == "causal"
    keys = mx.ones((1, 1, 3, 32))
    cache.update_and_fetch(keys, keys)
    taken = type(cache).merge([cache, cache]).extract(1)
    assert type(taken) is BlockCompressedKVCache
    taken.blocks = mx.array([0, 0])
    assert taken.make_mask(2).all()
