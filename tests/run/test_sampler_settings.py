"""Penalties, bias, XTC and alternatives against mlx-lm's own, and what a forced token does to the rest."""

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm import sample_utils as reference

from engine.api.errors import RequestError
from engine.api.settings import SamplingSettings
from engine.run.filters import xtc_filter
from engine.run.penalties import counts, frequency_penalty, logit_bias, presence_penalty, repetition_penalty
from engine.run.sampler import Sampler

HISTORY = [3, 9, 9, 41, 7, 9]
SIZE = 50


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(0, 3, (1, SIZE)).astype(np.float32)


@pytest.mark.parametrize("context", [1, 3, 20])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (presence_penalty, reference.make_presence_penalty),
        (frequency_penalty, reference.make_frequency_penalty),
        (repetition_penalty, reference.make_repetition_penalty),
    ],
)
def test_penalties_equal_mlx_lm(logits, ours, theirs, context):
    expected = theirs(1.4, context)(mx.array(HISTORY), mx.array(logits))
    given = mx.array(logits)
    actual = ours(1.4, context)(given, mx.array(HISTORY))
    np.testing.assert_allclose(np.asarray(actual), np.asarray(expected), rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(given), logits, "what was handed in stays as it was")


def test_bias_equals_mlx_lm_and_is_held_to_a_hundred(logits):
    [expected] = [make({3: 5.0, 8: -100.0}) for make in [reference.make_logits_processors]]
    actual = logit_bias(((3, 5.0), (8, -1e9)))(mx.array(logits))
    np.testing.assert_allclose(np.asarray(actual), np.asarray(expected[0](None, mx.array(logits))), rtol=1e-6)


def test_a_bias_of_a_token_that_is_not_there_is_named(logits):
    settings = SamplingSettings(temperature=0.0, logit_bias=((SIZE - 1, 1.0), (SIZE, 1.0)))
    with pytest.raises(RequestError, match="token 50; the model has 50"):
        sampler(settings).draw(mx.array(logits))


@pytest.mark.parametrize("penalty", [presence_penalty, frequency_penalty, repetition_penalty])
def test_tokens_without_a_logit_count_for_nothing(logits, penalty):
    """A picture's places may have numbers that the head does not know."""
    plain, with_picture = [3, 9], [3, SIZE, SIZE + 12345, 9]
    expected, actual = (penalty(1.4, 20)(mx.array(logits), mx.array(ids)) for ids in (plain, with_picture))
    np.testing.assert_array_equal(np.asarray(actual), np.asarray(expected))


def test_counts():
    found = np.asarray(counts(mx.array(HISTORY), None, SIZE))
    np.testing.assert_array_equal(found, np.bincount(HISTORY, minlength=SIZE))
    assert np.asarray(counts(mx.array(HISTORY), 2, SIZE)).nonzero()[0].tolist() == [7, 9]


@pytest.mark.parametrize("threshold", [0.01, 0.05, 0.4])
def test_xtc_leaves_out_what_mlx_lm_leaves_out(logits, threshold):
    spared = [int(logits.argmax())]
    expected = reference.apply_xtc(mx.array(logits), 1.0, threshold, spared)
    actual = xtc_filter(1.0, threshold, spared)(mx.array(logits), mx.random.key(0))
    np.testing.assert_array_equal(np.asarray(actual), np.asarray(expected))


def test_xtc_drops_something_and_the_likeliest_first(logits):
    left = np.asarray(xtc_filter(1.0, 0.01, ())(mx.array(logits), mx.random.key(0)))[0]
    assert left[logits.argmax()] == -np.inf
    assert np.isfinite(left).sum() > 0


def test_xtc_applies_as_often_as_it_says(logits):
    keep = xtc_filter(0.25, 0.01, ())
    dropped = [
        not np.isfinite(np.asarray(keep(mx.array(logits), mx.random.key(seed)))[0, logits.argmax()])
        for seed in range(800)
    ]
    assert np.mean(dropped) == pytest.approx(0.25, abs=0.05)


def sampler(settings, **options):
    return Sampler(settings, mx.array([0]), **({"seed": 1, "logprobs": True} | options))


def test_penalties_of_the_answer_add_up_as_it_grows():
    flat = mx.zeros((1, 4))
    settings = SamplingSettings(temperature=0.0, frequency_penalty=2.0, logit_bias=((0, 5.0),))
    made = Sampler(settings, mx.array([1, 1, 2]), seed=0, logprobs=False)
    # The bias keeps token 0 ahead until it has come three times.
    assert [made.draw(flat).read().token_id for _ in range(5)] == [0, 0, 0, 3, 0]


@pytest.mark.parametrize(("length", "expected"), [(20, 1), (21, 0)])
def test_the_usual_context_of_presence_is_twenty(length, expected):
    """Token 1 is ahead while the penalty is on both; the first of the prompt is 0, all others are 1."""
    prompt = mx.array([0] + [1] * (length - 1))
    made = Sampler(SamplingSettings(temperature=0.0, presence_penalty=1.0), prompt, seed=0, logprobs=False)
    assert made.draw(mx.array([[1.0, 1.4]])).read().token_id == expected


def test_alternatives_are_the_likeliest_of_the_models_own(logits):
    settings = SamplingSettings(temperature=0.7, logit_bias=((5, 100.0),), top_k=3)
    draw = sampler(settings, alternatives=5).draw(mx.array(logits))
    found = draw.read()
    logprobs = logits[0] - np.log(np.exp(logits[0]).sum())
    order = np.argsort(-logprobs)[:5]
    assert found.token_id == 5
    assert found.logprob == pytest.approx(logprobs[5], abs=1e-5)
    assert [token.token_id for token in found.alternatives] == order.tolist()
    np.testing.assert_allclose([token.logprob for token in found.alternatives], logprobs[order], atol=1e-5)
    assert len(draw.arrays()) == 4


@pytest.mark.parametrize(("logprobs", "alternatives", "arrays"), [(False, 5, 1), (True, 0, 2)])
def test_nothing_is_computed_that_was_not_asked_for(logits, logprobs, alternatives, arrays):
    draw = sampler(SamplingSettings(temperature=0.0), logprobs=logprobs, alternatives=alternatives).draw(
        mx.array(logits)
    )
    assert len(draw.arrays()) == arrays
    assert draw.read().alternatives == ()


def test_more_alternatives_than_tokens_are_all_tokens():
    draw = sampler(SamplingSettings(temperature=0.0), alternatives=20).draw(mx.array([[0.0, 1.0, 2.0]]))
    assert [token.token_id for token in draw.read().alternatives] == [2, 1, 0]


def test_a_forced_token_is_drawn_and_remembered(logits):
    settings = SamplingSettings(temperature=0.0, presence_penalty=2.0, logit_bias=((0, 50.0), (1, 49.0)))
    made = sampler(settings)
    forced = made.draw(mx.array(logits * 0), forced=0).read()
    assert (forced.token_id, forced.logprob) == (0, pytest.approx(-np.log(SIZE), abs=1e-5))
    assert made.draw(mx.array(logits * 0)).read().token_id == 1, "the penalty knows of it"


@pytest.mark.parametrize(
    "other", [SamplingSettings(temperature=1.0), SamplingSettings(temperature=1.0, xtc_probability=0.5)]
)
def test_a_row_draws_the_same_whatever_others_draw(logits, other):
    settings = SamplingSettings(temperature=1.5, xtc_probability=0.5, xtc_threshold=0.02)
    alone = sampler(settings, seed=7)
    expected = [alone.draw(mx.array(logits)).read().token_id for _ in range(20)]
    first, second = sampler(settings, seed=7), sampler(other, seed=7)
    mx.random.seed(99)
    found = []
    for _ in range(20):
        found.append(first.draw(mx.array(logits)).read().token_id)
        second.draw(mx.array(logits)).read()
    assert found == expected
    assert len(set(found)) > 1


def test_a_sampler_without_a_constraint_never_waits(logits):
    made = sampler(SamplingSettings(temperature=0.0))
    assert not made.waits
    assert not made.complete
    made.accept(3)
