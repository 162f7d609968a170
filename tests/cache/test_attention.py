"""Caches that attend by themselves give what attention to their keys and values gives, and are asked where they can."""

import mlx.core as mx
import mlx.nn as nn
import pytest
from mlx_lm.models import llama
from mlx_lm.models.base import scaled_dot_product_attention
from mlx_lm.models.cache import KVCache

from engine.cache.attention import attention, let_caches_attend
from engine.cache.compressed import CompressedKVCache
from engine.cache.turboquant import TurboQuant
from engine.cache.uniform import Uniform
from tests.cache.test_compressed_models import MODELS, PROMPTS, VOCABULARY, caches, decoder, far, tell

CODECS = {"uniform": (Uniform(8), Uniform(4, 32)), "turboquant": (TurboQuant(3), TurboQuant(4))}
SCALE = 0.2


class Counting(TurboQuant):
    """Counts how often its vectors were attended to as they lie."""

    read = 0

    def decode_turned(self, *arguments):
        Counting.read += 1
        return super().decode_turned(*arguments)


def drawn(shape, seed, dtype=mx.float32):
    return mx.random.normal(shape, key=mx.random.key(seed)).astype(dtype)


def batch(codecs, lengths, width=64):
    """Rows of so many tokens each."""
    rows = [CompressedKVCache(*codecs) for _ in lengths]
    for seed, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        row.update_and_fetch(drawn((1, 2, length, width), seed), drawn((1, 2, length, 32), seed + 100))
    return CompressedKVCache.merge(rows)


@pytest.mark.parametrize("codecs", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("width", [64, 80])
@pytest.mark.parametrize("mask", ["none", "causal", "rows", "added"])
@pytest.mark.parametrize("with_sinks", [False, True])
def test_attention_is_that_to_keys_and_values(codecs, width, mask, with_sinks):
    cache = batch(codecs, (7, 4), width)
    length = 1 if mask == "none" else 3
    given = cache.update_and_fetch(drawn((2, 2, length, width), 8), drawn((2, 2, length, 32), 9))
    chosen = {
        "none": None,
        "causal": "causal",
        "rows": cache.make_mask(length, return_array=True)[..., : given[0].shape[2]],
        "added": drawn((length, given[0].shape[2]), 5),
    }[mask]
    queries, sinks = drawn((2, 6, length, width), 3), drawn((6,), 4) if with_sinks else None
    found = attention(queries, *given, cache=cache, scale=SCALE, mask=chosen, sinks=sinks)
    expected = scaled_dot_product_attention(queries, *given, cache=None, scale=SCALE, mask=chosen, sinks=sinks)
    assert found.shape == (2, 6, length, 32)
    assert far(found, expected) < 1e-5


def test_what_a_layer_made_of_keys_is_what_is_attended_to():
    cache = CompressedKVCache(TurboQuant(4), TurboQuant(4))
    keys, values = cache.update_and_fetch(drawn((1, 2, 5, 64), 0), drawn((1, 2, 5, 64), 1))
    queries = drawn((1, 2, 1, 64), 2)
    for others in ((2 * keys, values), (keys, 2 * values), (keys[:, :, :3], values[:, :, :3])):
        found = attention(queries, *others, cache=cache, scale=SCALE, mask=None)
        expected = scaled_dot_product_attention(queries, *others, cache=None, scale=SCALE, mask=None)
        assert mx.array_equal(found, expected)


def test_caches_that_hand_out_are_attended_to_by_mlx_lm():
    cache = KVCache()
    keys, values = cache.update_and_fetch(drawn((1, 2, 5, 64), 0), drawn((1, 2, 5, 64), 1))
    queries = drawn((1, 2, 1, 64), 2)
    found = attention(queries, keys, values, cache=cache, scale=SCALE, mask=None)
    expected = scaled_dot_product_attention(queries, keys, values, cache=cache, scale=SCALE, mask=None)
    assert mx.array_equal(found, expected)


@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16])
def test_halves_stay_halves(dtype):
    cache = CompressedKVCache(TurboQuant(4), TurboQuant(4))
    given = cache.update_and_fetch(drawn((1, 2, 9, 64), 0, dtype), drawn((1, 2, 9, 64), 1, dtype))
    queries = drawn((1, 4, 1, 64), 2, dtype)
    found = attention(queries, *given, cache=cache, scale=SCALE, mask=None)
    expected = scaled_dot_product_attention(queries, *given, cache=None, scale=SCALE, mask=None)
    assert found.dtype == dtype
    assert far(found.astype(mx.float32), expected.astype(mx.float32)) < 0.02


@pytest.mark.parametrize("name", MODELS)
def test_a_decoder_that_asks_its_caches_says_what_it_said(name):
    plain, asking = decoder(name), decoder(name)
    let_caches_attend(asking)
    codecs = Counting(3), Counting(4)
    Counting.read = 0
    mine, theirs = ([CompressedKVCache(*codecs) for _ in caches(model)] for model in (asking, plain))
    for ids in (PROMPTS[2], [5], [6], [7, 8, 9]):
        assert far(tell(asking, mine, [ids]), tell(plain, theirs, [ids])) < 1e-5
    # Gemma 2 attends in a way of its own.
    assert Counting.read == (0 if name == "gemma2" else 4 * 2 * len(mine))


def test_nothing_else_of_a_decoder_changes():
    model = decoder("llama")
    before, ids = model(mx.array([PROMPTS[0]])), mx.array([PROMPTS[0]])
    for _ in range(2):
        let_caches_attend(model)
    attending = model.layers[0].self_attn
    assert isinstance(attending, llama.Attention)
    assert type(attending).__mro__[1] is llama.Attention
    assert llama.scaled_dot_product_attention is scaled_dot_product_attention
    assert type(model.layers[0].mlp) is llama.MLP
    assert mx.array_equal(model(ids), before)
    assert model(ids).shape[-1] == VOCABULARY


class Wrapped(llama.Attention):
    def __call__(self, *arguments, **options):
        return 2 * super().__call__(*arguments, **options)


def test_a_layer_that_calls_another_is_left_to_it():
    """Its own method does not attend; what it calls must not be put in its place."""
    model = nn.Sequential(Wrapped(llama.ModelArgs("llama", 64, 1, 96, 4, 1e-5, VOCABULARY)))
    x = drawn((1, 3, 64), 0)
    before = model.layers[0](x)
    let_caches_attend(model)
    assert mx.array_equal(model.layers[0](x), before)
