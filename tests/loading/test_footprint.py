"""What conversations take: equal to what caches hold once they are filled, and nothing is read to know it."""

import mlx.core as mx
import pytest
from mlx_lm.models.cache import ArraysCache, CacheList, ChunkedKVCache, KVCache, RotatingKVCache

from engine.api.model_facts import ContextMemory
from engine.loading.checkpoint import prepare
from engine.loading.footprint import LayerCache, context_memory, measure_caches
from tests.loading.checkpoints import CPU, METAL


class Model:
    """Leaves keys and values of 2 heads, 3 and 5 channels, in whatever cache it is given."""

    def __init__(self, *cache):
        self.cache = list(cache)

    def make_cache(self, max_kv_size=None):
        return self.cache

    def __call__(self, ids, cache):
        for layer in cache:
            self._fill(layer)

    def _fill(self, layer):
        if isinstance(layer, CacheList):
            for part in layer.caches:
                self._fill(part)
        elif isinstance(layer, ArraysCache):
            layer[0] = mx.zeros((1, 7), dtype=mx.float16)
        else:
            layer.update_and_fetch(mx.zeros((1, 2, 1, 3)), mx.zeros((1, 2, 1, 5)))


A_TOKEN = 2 * (3 + 5) * 4


@pytest.mark.parametrize(
    ("cache", "wanted"),
    [
        (KVCache(), [LayerCache(a_token=A_TOKEN)]),
        (RotatingKVCache(max_size=100), [LayerCache(a_token=A_TOKEN, most_tokens=100)]),
        (ChunkedKVCache(chunk_size=300), [LayerCache(a_token=A_TOKEN, most_tokens=300)]),
        (ArraysCache(2), [LayerCache(fixed=14)]),
        (CacheList(KVCache(), ArraysCache(1)), [LayerCache(a_token=A_TOKEN), LayerCache(fixed=14)]),
    ],
    ids=["all", "window", "chunk", "state", "several"],
)
def test_each_kind_of_cache(cache, wanted):
    assert measure_caches(Model(cache)) == wanted


def test_a_layer_that_uses_anothers_cache_takes_nothing():
    class Sharing(Model):
        def __call__(self, ids, cache):
            self._fill(cache[0])

    assert measure_caches(Sharing(KVCache(), KVCache())) == [LayerCache(a_token=A_TOKEN), LayerCache()]


def test_windows_end_and_states_do_not_grow():
    model = Model(KVCache(), RotatingKVCache(max_size=5000), ArraysCache(1))
    memory = context_memory(model, 1000, 10_000)
    assert memory == tuple(
        ContextMemory(tokens, 1000 + tokens * A_TOKEN + min(tokens, 5000) * A_TOKEN + 14)
        for tokens in (4096, 8192, 10_000)
    )


@pytest.mark.parametrize(
    ("context", "lengths"),
    [(512, [512]), (4096, [4096]), (0, [4096, 8192, 32768]), (40_000, [4096, 8192, 32768, 40_000])],
)
def test_lengths_go_up_to_the_models_own(context, lengths):
    assert [need.tokens for need in context_memory(Model(KVCache()), 0, context)] == lengths


@pytest.mark.parametrize("device", [CPU, METAL], ids=["cpu", "metal"])
def test_it_is_what_the_filled_cache_holds(tiny_llama, device):
    model = prepare("tiny", tiny_llama, device).model
    predicted = sum(layer.bytes(256) for layer in measure_caches(model))
    cache = model.make_cache()
    model(mx.arange(256)[None], cache)
    assert predicted == sum(layer.nbytes for layer in cache)


def test_nothing_is_read(tiny_llama):
    context_memory(prepare("warm", tiny_llama, METAL).model, 0, 512)
    checkpoint = prepare("tiny", tiny_llama, METAL)
    mx.clear_cache()
    before = mx.get_active_memory()
    context_memory(checkpoint.model, 0, 512)
    assert mx.get_active_memory() - before < checkpoint.weight_bytes / 20
