"""What a model needs against what is free."""

import gc
from dataclasses import replace

import mlx.core as mx
import pytest

from engine.api.errors import MemoryRefused
from engine.api.settings import CacheSettings, EngineSettings
from engine.loading.checkpoint import prepare
from engine.loading.memory import MOST_FOR_A_SLICE, STATED_CONTEXT, context_length, estimate, preflight, slice_bytes
from engine.loading.weights import open_weights
from engine.opening import open_checkpoint
from tests.loading.checkpoints import METAL

DECODER = {
    "num_hidden_layers": 10,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "hidden_size": 512,
    "max_position_embeddings": 100_000,
}


def test_the_cache_is_keys_and_values_of_every_layer():
    need = estimate(DECODER, 1000)
    assert need.tokens == STATED_CONTEXT
    assert need.cache == STATED_CONTEXT * 2 * 10 * 2 * (512 // 8) * 4
    assert need.total == 1000 + need.cache


def test_a_shorter_context_or_cache_needs_less():
    assert estimate({**DECODER, "max_position_embeddings": 100}, 0).tokens == 100
    assert estimate(DECODER, 0, max_kv_size=64).tokens == 64


def test_pictures_count_where_there_is_a_tower():
    tower = {
        "image_size": 64,
        "patch_size": 16,
        "hidden_size": 10,
        "intermediate_size": 20,
        "num_attention_heads": 2,
    }
    # One picture, or one tile, at a time.
    assert estimate({"text_config": DECODER, "vision_config": tower}, 0).media == 16 * (80 + 60 + 2 * 2 * 16) * 4
    assert estimate(DECODER, 0).media == 0


def test_a_tower_for_any_size_takes_no_more_than_a_slice():
    tower = {"patch_size": 16, "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16}
    config = {"text_config": DECODER, "vision_config": tower}
    assert estimate(config, 0, slice_bytes=1 << 20).media == 1 << 20
    assert 1 << 20 < estimate(config, 0).media < 1 << 30


@pytest.mark.parametrize(
    ("asked", "free", "bytes_"), [(None, 8 << 20, 1 << 20), (None, 1 << 40, MOST_FOR_A_SLICE), (5, 1 << 40, 5)]
)
def test_what_a_slice_may_take_follows_the_free_memory(asked, free, bytes_):
    assert slice_bytes(EngineSettings(tower_bytes=asked), free) == bytes_


def test_an_encoder_with_its_decoder_keeps_what_was_read_and_what_is_written():
    bart = {"encoder_layers": 7, "decoder_layers": 6, "d_model": 64, "decoder_attention_heads": 4, "n_ctx": 1024}
    assert estimate(bart, 0).cache == 1024 * 2 * (2 * 6) * 64 * 4


def test_what_is_not_read_lazily_counts_once(tiny_llama, monkeypatch):
    """A GGUF file is in memory once it is opened, and gone when its weights are what they become."""

    def read_at_once(folder):
        weights = open_weights(folder)
        mx.eval(weights)
        return weights

    monkeypatch.setattr("engine.loading.unbound.open_weights", read_at_once)
    known = prepare("tiny", tiny_llama, METAL)
    need = estimate(known.config, known.weight_bytes).total
    del known
    gc.collect()
    limited = replace(METAL, memory_limit=mx.get_active_memory() + need)
    opening = open_checkpoint("tiny", tiny_llama, EngineSettings(), limited, reclaimable=0)
    assert opening.weight_bytes
    with pytest.raises(MemoryRefused, match=r"are free"):
        open_checkpoint("tiny", tiny_llama, EngineSettings(), replace(METAL, memory_limit=need), reclaimable=-1)


def test_layers_that_differ_count_as_the_largest():
    assert estimate({**DECODER, "num_key_value_heads": [1, 2, 2]}, 0).cache == estimate(DECODER, 0).cache


def test_context_length():
    assert context_length({"text_config": {"max_position_embeddings": 77}}) == 77
    assert context_length({"model_type": "gpt2", "n_positions": 1024}) == 1024
    assert context_length({"model_type": "mamba"}) == 0


def test_a_model_that_does_not_fit_is_refused_with_the_numbers(tiny_llama):
    checkpoint = prepare("tiny", tiny_llama, METAL)
    preflight(checkpoint, 1 << 30, EngineSettings())
    large = replace(checkpoint, weight_bytes=40 * 10**9)
    with pytest.raises(MemoryRefused) as caught:
        preflight(large, 8 * 10**9, EngineSettings(cache=CacheSettings(max_kv_size=128)))
    assert "tiny needs 40 GB" in caught.value.message
    assert "128 tokens" in caught.value.message
    assert "8.0 GB are free" in caught.value.message
    assert "4-bit" in caught.value.hint
