"""How a prompt is cut: nothing is read twice, and a short rest goes through the model in one pass."""

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models.cache import make_prompt_cache

from engine.cache.features import FeatureCache
from engine.run.prefill import SHORT, Prefill
from engine.run.prompt import Prompt
from tests.tiny_decoders import build, ids


class Watched:
    """A model, and how many tokens went through it at a time."""

    def __init__(self, kind):
        self.model = build(kind)
        self.lengths = []

    def __getattr__(self, name):
        return getattr(self.model, name)

    def __call__(self, tokens, *arguments, **options):
        self.lengths.append(tokens.shape[1])
        return self.model(tokens, *arguments, **options)


def read(model, tokens, step, caches, done=0):
    """The logits behind a prompt of which `done` tokens are in `caches`, and what was told of its pieces."""
    prompt = Prompt(np.asarray(tokens, np.int32), np.zeros(0, np.int32), (), "")
    told = []
    work = Prefill(model, FeatureCache(0), prompt, caches, step, done=done).work(told.append)
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value, told


@pytest.mark.parametrize(
    ("length", "step", "pieces"),
    [
        (SHORT + 1, 512, [SHORT + 1]),
        (SHORT + 2, 512, [SHORT + 1, 1]),
        (100, 40, [40, 40, 20]),
        (121, 40, [40, 40, 40, 1]),
        (1, 512, [1]),
    ],
)
def test_a_short_rest_goes_through_with_the_last_token(length, step, pieces):
    model = Watched("llama")
    tokens = ids(3, length)
    logits, told = read(model, tokens, step, make_prompt_cache(model.language_model))
    assert model.lengths == pieces
    assert told == np.cumsum(pieces)[:-1].tolist()
    whole = model.model(mx.array([tokens]), make_prompt_cache(model.language_model))[:, -1]
    assert mx.abs(logits - whole).max().item() < 1e-4 * mx.abs(whole).max().item()


@pytest.mark.parametrize("kind", ["gemma3_text", "qwen3_next"])
def test_what_cannot_be_taken_back_is_told_of_before_the_last_token(kind):
    model = Watched(kind)
    _, told = read(model, ids(3, 20), 512, make_prompt_cache(model.language_model))
    assert (model.lengths, told) == ([19, 1], [19])


def test_a_second_turn_is_one_pass():
    model = Watched("llama")
    tokens, caches = ids(3, 90), make_prompt_cache(model.language_model)
    read(model, tokens[:70], 512, caches)
    model.lengths.clear()
    read(model, tokens, 512, caches, done=70)
    assert model.lengths == [20]
