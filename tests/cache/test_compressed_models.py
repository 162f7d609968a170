"""Decoders of mlx-lm on compressed caches: close to plain ones, and a row of a batch like itself alone."""

import mlx.core as mx
import pytest
from mlx.utils import tree_map_with_path
from mlx_lm.models.cache import make_prompt_cache

from engine.api.settings import CacheSettings, KVScheme
from engine.cache.attention import let_caches_attend
from engine.cache.scheme import compress
from engine.models.decoders.text import build_decoder

VOCABULARY = 50
SIZES = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "rms_norm_eps": 1e-5,
    "vocab_size": VOCABULARY,
    "rope_theta": 10000.0,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
OF_GEMMA2 = {"query_pre_attn_scalar": 32, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
# Heads of 24 and 48 fit no group, and are no power of two.
MODELS = {"llama": {}, "gemma2": OF_GEMMA2, "qwen3": {}, "llama-24": {"head_dim": 24}, "qwen3-48": {"head_dim": 48}}
EIGHT = CacheSettings(kv_bits=8)
SCHEMES = {
    "uniform-8": EIGHT,
    "uniform-4": CacheSettings(kv_bits=4, kv_group_size=32),
    "turboquant-4": CacheSettings(kv_bits=4, kv_quant_scheme=KVScheme.TURBOQUANT),
    "turboquant-3.5": CacheSettings(kv_bits=3.5, kv_quant_scheme=KVScheme.TURBOQUANT),
}
PROMPTS = [[7, 3, 11, 29, 5], [1], [40, 41, 2, 2, 9, 13, 17, 8, 30, 22, 4]]


def decoder(name):
    made = build_decoder({"model_type": name.partition("-")[0], **SIZES, **MODELS[name]})
    keys = iter(mx.random.split(mx.random.key(3), 1000))

    def weight(name, value):
        noise = mx.random.normal(value.shape, key=next(keys))
        return 1 + 0.1 * noise if "norm" in name else 0.15 * noise

    made.update(tree_map_with_path(weight, made.parameters()))
    return made


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    made = decoder(request.param)
    let_caches_attend(made)
    return made


def caches(model, settings=None):
    fresh = make_prompt_cache(model)
    return fresh if settings is None else compress(fresh, settings)


def tell(model, cache, ids):
    return model(mx.array(ids), cache=cache)[:, -1]


def greedy(model, cache, prompt, count):
    answer = []
    logits = tell(model, cache, [prompt])
    for _ in range(count):
        answer.append(logits.argmax(axis=-1).item())
        logits = tell(model, cache, [answer[-1:]])
    return answer


def far(found, expected):
    """Relative to the largest logit."""
    return (mx.abs(found - expected).max() / mx.abs(expected).max()).item()


def test_eight_bits_are_close_and_answer_alike(model):
    prompt = PROMPTS[2]
    assert far(tell(model, caches(model, EIGHT), [prompt]), tell(model, caches(model), [prompt])) < 0.04
    assert greedy(model, caches(model, EIGHT), prompt, 24) == greedy(model, caches(model), prompt, 24)


@pytest.mark.parametrize("scheme", ["uniform", "turboquant"])
def test_fewer_bits_are_further_off(model, scheme):
    ids = [[number * 7 % VOCABULARY for number in range(60)]]
    plain = tell(model, caches(model), ids)
    off = [
        far(tell(model, caches(model, CacheSettings(kv_bits=bits, kv_quant_scheme=KVScheme(scheme))), ids), plain)
        for bits in (4, 2)
    ]
    assert 0 < off[0] < 0.5
    assert off[0] < off[1]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_pieces_of_a_prompt_do_not_matter(model, scheme):
    whole, parts = caches(model, SCHEMES[scheme]), caches(model, SCHEMES[scheme])
    prompt = PROMPTS[2]
    expected = tell(model, whole, [prompt])
    for start, stop in ((0, 4), (4, 10), (10, 11)):
        found = tell(model, parts, [prompt[start:stop]])
    assert far(found, expected) < 1e-4


@pytest.mark.parametrize("scheme", SCHEMES)
def test_rows_of_a_batch_are_what_they_are_alone(model, scheme):
    singles = [caches(model, SCHEMES[scheme]) for _ in PROMPTS]
    for cache, prompt in zip(singles, PROMPTS, strict=True):
        tell(model, cache, [prompt])
    batch = [type(layers[0]).merge(list(layers)) for layers in zip(*singles, strict=True)]
    for step in range(3):
        tokens = [(13 * step + 5 * row) % VOCABULARY for row in range(len(PROMPTS))]
        together = tell(model, batch, [[token] for token in tokens])
        for row, (cache, token) in enumerate(zip(singles, tokens, strict=True)):
            assert far(together[row], tell(model, cache, [[token]])[0]) < 1e-5


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_row_goes_on_alone_and_joins_again(model, scheme):
    alone = [caches(model, SCHEMES[scheme]) for _ in PROMPTS]
    moved = [caches(model, SCHEMES[scheme]) for _ in PROMPTS]
    for cache, prompt in zip((*alone, *moved), (*PROMPTS, *PROMPTS), strict=True):
        tell(model, cache, [prompt])
    batch = [type(layers[0]).merge(list(layers)) for layers in zip(*moved, strict=True)]
    third = [layer.extract(2) for layer in batch]
    for layer in batch:
        layer.filter(mx.array([0, 1]))
    tell(model, third, [[6]])
    for layer, row in zip(batch, third, strict=True):
        layer.extend(type(row).merge([row]))
    together = tell(model, batch, [[8], [8], [8]])
    tell(model, alone[2], [[6]])
    for row, cache in enumerate(alone):
        assert far(together[row], tell(model, cache, [[8]])[0]) < 1e-5
