"""A draft model guesses its own greedy tokens, whatever became of the guess before."""

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models.rope_utils import DynamicNTKScalingRoPE

from engine.speculate.draft_model import DraftModel
from engine.speculate.reach import reach
from tests.tiny_decoders import VOCABULARY, WINDOW, build, ids


@pytest.fixture(scope="module")
def model():
    return build("llama")


def greedy(model, history, count):
    """Without caches."""
    tokens = list(history)
    for _ in range(count):
        tokens.append(model(mx.array([tokens]), None)[0, -1].argmax().item())
    return tokens[len(history) :]


def proposed(drafter, history, count=4):
    return drafter.propose(np.array(history, np.int32), count)


def test_what_was_said_since_may_be_the_guess_part_of_it_or_something_else(model):
    drafter = DraftModel(model, VOCABULARY, 512)
    history = ids(1, 9)
    for right in (4, 0, 2, 1, 4, 3):
        draft = proposed(drafter, history)
        assert draft == greedy(model, history, 4)
        other = (draft[right] + 1) % VOCABULARY if right < 4 else 7
        history = [*history, *draft[:right], other]


def test_tokens_said_without_a_guess_are_caught_up_with(model):
    drafter = DraftModel(model, VOCABULARY, 512)
    history = ids(2, 5)
    proposed(drafter, history)
    history += ids(3, 11)
    assert proposed(drafter, history, 1) == greedy(model, history, 1)


def test_the_same_again(model):
    drafter = DraftModel(model, VOCABULARY, 512)
    assert proposed(drafter, ids(4, 6)) == proposed(drafter, ids(4, 6))


def test_a_long_text_is_read_a_step_a_call(model):
    drafter = DraftModel(model, VOCABULARY, 4)
    history = ids(5, 11)
    assert [proposed(drafter, history) for _ in range(2)] == [[], []]
    assert proposed(drafter, history) == greedy(model, history, 4)


def test_tokens_that_the_other_model_has_not_are_never_guessed(model):
    drafter = DraftModel(model, 5, 512)
    assert max(max(proposed(drafter, ids(seed, 6))) for seed in range(10)) < 5


def test_where_it_cannot_be_taken_back_it_guesses_no_more():
    model = build("gemma3_text")
    drafter = DraftModel(model, VOCABULARY, 512)
    history = ids(6, 3)
    assert proposed(drafter, history, 2) == greedy(model, history, 2)
    assert drafter.always
    history = ids(6, WINDOW)
    assert proposed(drafter, history, 2) == []
    assert not drafter.always


def test_a_decoder_that_turns_by_the_length_of_a_text_is_guessed_for_up_to_its_limit(model):
    turning = build("llama")
    turning.language_model.model.layers[1].self_attn.rope = DynamicNTKScalingRoPE(8, 300, False, 1e4, 2.0)
    assert reach(turning) == 300
    assert reach(model) > 1 << 40
