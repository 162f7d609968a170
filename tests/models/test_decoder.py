import mlx.core as mx
import pytest
from mlx.utils import tree_flatten

from engine.api.errors import CheckpointError
from engine.models.decoders.text import PREFIX, build_decoder, sanitize_decoder
from engine.models.names import rename

CONFIG = {
    "model_type": "llama",
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "rms_norm_eps": 1e-5,
    "vocab_size": 10,
    "tie_word_embeddings": True,
}

EMBEDDING = f"{PREFIX}model.embed_tokens.weight"
HEAD = f"{PREFIX}lm_head.weight"


def test_a_copy_of_the_embeddings_is_not_kept_as_a_head():
    decoder = build_decoder(CONFIG)
    table = mx.random.normal((10, 8))
    scales = {name.replace("weight", "scales"): table for name in (EMBEDDING, HEAD)}
    kept = sanitize_decoder(decoder, {EMBEDDING: table, HEAD: table + 0, "connector.weight": table} | scales)
    assert kept.keys() == {EMBEDDING, EMBEDDING.replace("weight", "scales"), "connector.weight"}
    assert "lm_head" not in decoder


def test_a_head_of_its_own_is_kept_though_the_config_calls_it_tied():
    decoder = build_decoder(CONFIG)
    head = mx.random.normal((10, 8))
    kept = sanitize_decoder(decoder, {EMBEDDING: mx.random.normal((10, 8)), HEAD: head})
    decoder.lm_head.weight = kept[HEAD]
    ids = mx.array([[1, 2]])
    assert mx.allclose(decoder(ids), decoder.model(ids) @ head.T, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "made_up"}, "'made_up'"),
        ({"model_type": "llama"}, "hidden_size"),
        ({}, "None"),
    ],
)
def test_a_config_that_cannot_be_built_is_named(config, message):
    with pytest.raises(CheckpointError, match=message):
        build_decoder(config)


def test_two_tensors_under_one_name_are_an_error():
    table = mx.zeros((1,))
    with pytest.raises(CheckpointError, match=r"lm_head\.weight twice"):
        rename({"lm_head.weight": table, "model.lm_head.weight": table}, (("model.", ""),))


GRANITE = CONFIG | {
    "model_type": "granite",
    "logits_scaling": 1.0,
    "attention_multiplier": 0.5,
    "embedding_multiplier": 2.0,
    "residual_multiplier": 1.0,
    "max_position_embeddings": 32,
    "num_key_value_heads": 2,
    "attention_bias": False,
    "mlp_bias": False,
    "rope_theta": 100.0,
}


def test_a_decoder_that_only_looks_ids_up_takes_embeddings_too():
    decoder = build_decoder(GRANITE)
    names = {name for name, _ in tree_flatten(decoder.parameters())}
    ids = mx.array([[1, 2, 3]])
    handed = decoder.model.embed_tokens(ids)
    assert mx.array_equal(decoder(mx.zeros_like(ids), input_embeddings=handed), decoder(ids))
    assert {name for name, _ in tree_flatten(decoder.parameters())} == names
