"""Whatever is guessed, what is drawn is what would have been drawn without a guess, with the same seed."""

import mlx.core as mx
import numpy as np
import pytest

from engine.api.settings import SamplingSettings
from engine.run.sampler import Sampler
from engine.run.verify import follow

VOCABULARY = 12
LENGTH = 60


class Odd:
    """A constraint: tokens and places in the answer are odd and even in turn. Knows only what it accepted."""

    holds, stopped = True, False

    def __init__(self, waits=True):
        self.waits, self.accepted = waits, []

    def mask(self, size, drawn):
        unread = 0 if self.waits or drawn is None else 1
        return (mx.arange(size) % 2 == (len(self.accepted) + unread) % 2)[None]

    def accept(self, token):
        assert token % 2 == len(self.accepted) % 2
        self.accepted.append(token)

    def fork(self):
        return Odd(self.waits)


class Forces:
    """A budget that has every fifth token drawn be 3, and waits for those before it. Behind others it hears late."""

    def __init__(self):
        self.accepted, self.seen = [], []

    @property
    def waits(self):
        return len(self.accepted) % 5 >= 3

    def forced(self):
        self.seen.append(len(self.accepted))
        return 3 if len(self.accepted) % 5 == 4 else None

    def accept(self, token):
        self.accepted.append(token)


SETTINGS = {
    "greedy": {"temperature": 0.0},
    "penalties": {"temperature": 0.0, "repetition_penalty": 1.7, "presence_penalty": 0.8, "frequency_penalty": 0.5},
    "no repeats": {"temperature": 0.0, "no_repeat_ngram_size": 2},
    "bias": {"temperature": 0.0, "logit_bias": ((4, 2.0),)},
    "warm": {"temperature": 0.9},
    "filtered": {"temperature": 1.3, "top_k": 6, "top_p": 0.8, "min_p": 0.05},
    "warm penalties": {"temperature": 0.8, "repetition_penalty": 1.5, "no_repeat_ngram_size": 3},
    "xtc": {"temperature": 1.0, "xtc_probability": 0.5, "xtc_threshold": 0.1},
}
HELD = {
    "free": dict,
    "constraint that waits": lambda: {"constraint": Odd()},
    "constraint that hears late": lambda: {"constraint": Odd(waits=False)},
    "budget": lambda: {"budget": Forces()},
}
TABLE = mx.random.normal((VOCABULARY, VOCABULARY, VOCABULARY), key=mx.random.key(5)) * 2


def logits(history):
    """(V,) of a model that looks back two tokens."""
    return TABLE[history[-2], history[-1]]


def sampler(settings, held, seed=11):
    return Sampler(
        SamplingSettings(repetition_context_size=8, **settings),
        mx.array([1, 2]),
        seed=seed,
        logprobs=True,
        alternatives=2,
        **held(),
    )


def read(draw):
    token = draw.read()
    return token.token_id, round(token.logprob, 4), tuple(other.token_id for other in token.alternatives)


def plain(chooser, length=LENGTH):
    """In the runner's order."""
    history, said = [1, 2], []
    draw = chooser.draw(logits(history)[None])
    for _ in range(length):
        said.append(read(draw))
        history.append(said[-1][0])
        waits = chooser.waits
        if waits:
            chooser.accept(said[-1][0])
        draw = chooser.draw(logits(history)[None])
        if not waits:
            chooser.accept(said[-1][0])
    return said


def guessed(chooser, right, seed, length=LENGTH):
    """Guesses of up to five tokens: those of `right`, now and then with a wrong one among them."""
    rng = np.random.default_rng(seed)
    history, said, at_once = [1, 2], [], 0
    draw = chooser.draw(logits(history)[None])
    while len(said) < length:
        said.append(read(draw))
        draft = [token for token, *_ in right[len(said) : len(said) + rng.integers(0, 6)]]
        if draft and rng.random() < 0.6:
            draft[rng.integers(len(draft))] = int(rng.integers(VOCABULARY))
        tokens = [said[-1][0], *draft]
        behind = [logits([*history, *tokens[: number + 1]]) for number in range(len(tokens))]
        *agreed, draw = follow(chooser, mx.stack(behind), tokens)
        history += tokens[: len(agreed) + 1]
        said += map(read, agreed)
        at_once += len(agreed)
    assert at_once > length // 4
    return said[:length]


@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("settings", SETTINGS)
def test_guesses_change_nothing(settings, held):
    expected = plain(sampler(SETTINGS[settings], HELD[held]), LENGTH + 8)
    for seed in range(4):
        assert guessed(sampler(SETTINGS[settings], HELD[held]), expected, seed) == expected[:LENGTH]


def test_what_was_drawn_is_accepted_once_and_in_order():
    constraint = Odd()
    chooser = sampler({"temperature": 1.0}, lambda: {"constraint": constraint})
    expected = plain(sampler({"temperature": 1.0}, HELD["constraint that waits"]), LENGTH + 8)
    said = guessed(chooser, expected, 1)
    assert constraint.accepted[:LENGTH] == [token for token, *_ in said]


class Ends(Odd):
    """Complete after so many tokens; then nothing is allowed, and nothing may be asked."""

    def __init__(self, length):
        super().__init__()
        self.length = length

    @property
    def stopped(self):
        return len(self.accepted) >= self.length

    def mask(self, size, drawn):
        assert not self.stopped
        return super().mask(size, drawn)


@pytest.mark.parametrize("length", range(1, 8))
def test_no_guess_is_right_behind_a_complete_answer(length):
    expected = [token for token, *_ in plain(sampler({"temperature": 0.0}, HELD["constraint that waits"]), 10)]
    constraint = Ends(length)
    chooser = sampler({"temperature": 0.0}, lambda: {"constraint": constraint})
    first = chooser.draw(logits([1, 2])[None]).token.item()
    history = [1, 2, *expected]
    behind = mx.stack([logits(history[: number + 3]) for number in range(6)])
    *agreed, _ = follow(chooser, behind, expected[:6])
    assert chooser.complete == (length <= 6)
    assert [first, *(draw.token.item() for draw in agreed)] == expected[: min(length, 6)]
    assert constraint.accepted == expected[: min(length, 6)]


def test_what_is_drawn_behind_a_wrong_guess_is_undone():
    chooser, other = (sampler(SETTINGS["warm penalties"], HELD["free"]) for _ in range(2))
    first, _ = (each.draw(logits([1, 2])[None]).token.item() for each in (chooser, other))
    row = logits([2, first])
    right = other.draw(row[None]).token.item()
    other.accept(right)
    (draw,) = follow(chooser, mx.stack([row] * 4), [first, (right + 1) % VOCABULARY, 0, 0])
    assert draw.token.item() == right
    for mine, theirs in zip(chooser.mark(), other.mark(), strict=True):
        assert mine is theirs or mx.array_equal(mine, theirs)


# The 99.99th percentile of chi-square with 15 degrees of freedom.
CRITICAL = 44.3
DRAWS = 3000


@pytest.mark.parametrize("draft", [[0, 0], [3, 1], [2, 2]])
def test_the_distribution_is_the_models(draft):
    """Two tokens of four, drawn with a guess that is sometimes right: all sixteen pairs are as frequent as they should
    be."""
    table = np.array([[1.0, 0.2, -0.5, 0.3], [0.1, 1.2, 0.4, -1.0], [0.0, 0.0, 0.8, 0.5], [0.7, -0.2, 0.1, 1.1]])
    shares = np.exp(table / 0.8) / np.exp(table / 0.8).sum(axis=1, keepdims=True)
    rows = mx.array(table)
    # The token before stands at 1; behind the guess's first token is the row of that.
    behind = mx.stack([rows[1], rows[draft[0]], rows[draft[1]]])
    counts = np.zeros((4, 4))
    for seed in range(DRAWS):
        chooser = Sampler(SamplingSettings(temperature=0.8), mx.array([1]), seed=seed, logprobs=False)
        draws = [draw.token.item() for draw in follow(chooser, behind, [1, *draft])]
        if len(draws) == 1:
            draws.append(chooser.draw(rows[draws[0]][None]).token.item())
        counts[draws[0], draws[1]] += 1
    expected = DRAWS * shares[1][:, None] * shares
    assert ((counts - expected) ** 2 / expected).sum() < CRITICAL
