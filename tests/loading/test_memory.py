"""What a model needs against what is free."""

from dataclasses import replace

import pytest

from engine.api.errors import MemoryRefused
from engine.api.settings import CacheSettings, EngineSettings
from engine.loading.checkpoint import prepare
from engine.loading.memory import STATED_CONTEXT, context_length, estimate, preflight
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
    assert estimate({"text_config": DECODER, "vision_config": tower}, 0).media == 4 * 16 * (80 + 40 + 32) * 4
    assert estimate(DECODER, 0).media == 0


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
