"""The sampler against transformers' own logits processors, and against what sampling means."""

import mlx.core as mx
import numpy as np
import pytest
import torch
from transformers.generation import logits_process as reference

from engine.api.settings import SamplingSettings
from engine.run.filters import min_p_filter, top_k_filter, top_p_filter
from engine.run.penalties import no_repeat_ngram, repetition_penalty
from engine.run.sampler import Sampler


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(0, 3, (1, 50)).astype(np.float32)


def kept(array):
    return set(np.flatnonzero(np.isfinite(np.asarray(array)[0])).tolist())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (top_k_filter(7), reference.TopKLogitsWarper(7)),
        (top_k_filter(80), reference.TopKLogitsWarper(80)),
        (top_p_filter(0.9), reference.TopPLogitsWarper(0.9)),
        (top_p_filter(0.01), reference.TopPLogitsWarper(0.01)),
        (min_p_filter(0.05), reference.MinPLogitsWarper(0.05)),
    ],
)
def test_filters_keep_what_the_reference_keeps(logits, ours, theirs):
    expected = theirs(torch.zeros((1, 1), dtype=torch.long), torch.tensor(logits))
    assert kept(ours(mx.array(logits))) == kept(expected)


def test_repetition_penalty_equals_the_reference(logits):
    history = [3, 9, 9, 41]
    expected = reference.RepetitionPenaltyLogitsProcessor(1.3)(torch.tensor([history]), torch.tensor(logits))
    actual = repetition_penalty(1.3, None)(mx.array(logits), mx.array(history))
    np.testing.assert_allclose(np.asarray(actual), expected.numpy(), rtol=1e-6)


def test_repetition_penalty_looks_no_further_back_than_told(logits):
    actual = repetition_penalty(1.3, 1)(mx.array(logits), mx.array([3, 41]))
    changed = np.flatnonzero(np.asarray(actual)[0] != logits[0])
    assert changed.tolist() == [41]


@pytest.mark.parametrize("history", [[1, 2, 3, 1, 2], [5, 5, 5], [1], [], [7, 8, 9, 7, 1, 7, 8]])
def test_no_repeat_ngram_forbids_what_the_reference_forbids(logits, history):
    ids = torch.tensor([history], dtype=torch.long)
    expected = reference.NoRepeatNGramLogitsProcessor(3)(ids, torch.tensor(logits))
    actual = no_repeat_ngram(3)(mx.array(logits), mx.array(history, dtype=mx.int32))
    assert kept(actual) == kept(expected)


def draws(settings, seed, logits, count=20):
    sampler = Sampler(settings, mx.array([0]), seed=seed, logprobs=False)
    return [int(sampler.draw(mx.array(logits)).token.item()) for _ in range(count)]


def test_the_same_seed_gives_the_same_tokens_and_another_one_others(logits):
    settings = SamplingSettings(temperature=1.5)
    assert draws(settings, 7, logits) == draws(settings, 7, logits)
    assert draws(settings, 7, logits) != draws(settings, 8, logits)


def test_a_sequence_does_not_disturb_another_one(logits):
    settings = SamplingSettings(temperature=1.5)
    alone = draws(settings, 7, logits)
    first, second = (Sampler(settings, mx.array([0]), seed=seed, logprobs=False) for seed in (7, 99))
    together = []
    for _ in range(20):
        together.append(int(first.draw(mx.array(logits)).token.item()))
        second.draw(mx.array(logits)).token.item()
    assert together == alone


def test_greedy_takes_the_largest(logits):
    assert draws(SamplingSettings(temperature=0.0, top_k=5), 0, logits, 2) == [int(logits.argmax())] * 2


def test_sampled_tokens_follow_the_tempered_distribution(logits):
    counts = np.bincount(draws(SamplingSettings(temperature=2.0, top_k=3), 1, logits, 2000), minlength=50)
    top = np.argsort(logits[0])[-3:]
    expected = np.exp(logits[0, top] / 2)
    expected /= expected.sum()
    assert counts.sum() == counts[top].sum()
    np.testing.assert_allclose(counts[top] / 2000, expected, atol=0.04)


def test_logprobs_are_those_of_the_model_not_of_the_penalties(logits):
    settings = SamplingSettings(temperature=0.7, repetition_penalty=5.0)
    draw = Sampler(settings, mx.array([int(logits.argmax())]), seed=3, logprobs=True).draw(mx.array(logits))
    expected = torch.log_softmax(torch.tensor(logits), -1)[0, int(draw.token.item())]
    assert float(draw.logprob.item()) == pytest.approx(float(expected), abs=1e-5)
