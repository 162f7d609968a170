"""Rows that join and leave in any order are what they would be alone, whatever kind of cache they live on."""

import random

import mlx.core as mx
import pytest
from mlx_lm.models.cache import CacheList, KVCache, QuantizedKVCache, RotatingKVCache

from engine.run.rows import Rows, can_be_rows
from tests.tiny_decoders import CONFIGS, build, ids

TOKENS = 24
LENGTHS = (1, 5, 3, 12, 19, 8)
"""Of prompts: shorter and longer than a window."""


@pytest.fixture(scope="module", params=CONFIGS)
def model(request):
    return build(request.param)


def prefilled(model, prompt, step=4):
    caches = model.make_cache()
    for start in range(0, len(prompt), step):
        logits = model(mx.array([prompt[start : start + step]]), caches)[:, -1]
    return caches, logits


def alone(model, prompt, count):
    """Greedy tokens, and the logits each was chosen by."""
    caches, logits = prefilled(model, prompt)
    found = []
    for _ in range(count):
        found.append((logits.argmax().item(), logits))
        logits = model(mx.array([[found[-1][0]]]), caches)[:, -1]
    return found


class Walk:
    """Sequences that come and go at random; each is compared with its lone run at every token."""

    def __init__(self, model, seed):
        self.model, self.rows, self.random = model, Rows(model, None), random.Random(seed)
        self.expected = {f"s{n}": alone(model, ids(n, length), TOKENS) for n, length in enumerate(LENGTHS)}
        self.waiting = list(self.expected)
        self.done = dict.fromkeys(self.expected, 0)
        self.parked = {}

    def join(self):
        name = self.waiting.pop(self.random.randrange(len(self.waiting)))
        caches = self.parked.pop(name, None)
        if caches is None:
            caches, logits = prefilled(self.model, ids(int(name[1:]), LENGTHS[int(name[1:])]))
            self.compare(name, logits)
        self.rows.join(name, caches, 0)

    def leave(self):
        name = self.random.choice(self.rows.names)
        self.parked[name] = self.rows.leave(name)
        if self.done[name] < TOKENS - 1:
            self.waiting.append(name)

    def step(self):
        names = self.rows.names
        tokens = [mx.array([self.expected[name][self.done[name]][0]]) for name in names]
        logits = self.rows.step(tokens)
        for number, name in enumerate(names):
            self.done[name] += 1
            self.compare(name, logits[number : number + 1])

    def compare(self, name, logits):
        expected = self.expected[name][self.done[name]][1]
        assert mx.abs(logits - expected).max() <= 2e-4 * mx.abs(expected).max(), (name, self.done[name])

    def run(self):
        while self.waiting or self.rows.names:
            if self.waiting and (not self.rows.names or self.random.random() < 0.4):
                self.join()
            for name in [name for name in self.rows.names if self.done[name] == TOKENS - 1]:
                self.rows.leave(name)
            if self.rows.names:
                self.step()
            if len(self.rows.names) > 1 and self.random.random() < 0.25:
                self.leave()


@pytest.mark.parametrize("seed", range(4))
def test_in_any_order(model, seed):
    walk = Walk(model, seed)
    walk.run()
    assert set(walk.done.values()) == {TOKENS - 1}


@pytest.mark.parametrize("at", [0, 1, 2])
def test_what_leaves_holds_what_it_would_hold_alone(model, at):
    rows = Rows(model, None)
    prompts = [ids(number, length) for number, length in enumerate((9, 2, 14))]
    lone = []
    for number, prompt in enumerate(prompts):
        caches, logits = prefilled(model, prompt)
        rows.join(str(number), caches, 0)
        lone.append(alone(model, prompt, 4))
    for step in range(2):
        rows.step([mx.array([run[step][0]]) for run in lone])
    left = rows.leave(str(at))
    assert rows.names == tuple(str(number) for number in range(3) if number != at)
    logits = model(mx.array([[lone[at][2][0]]]), left)[:, -1]
    assert mx.abs(logits - lone[at][3][1]).max() < 1e-4 * mx.abs(logits).max()


def test_one_row_keeps_the_caches_it_came_with(model):
    rows = Rows(model, None)
    caches, _ = prefilled(model, [1, 2, 3])
    rows.join("a", caches, 0)
    assert rows.caches_of("a") is caches
    assert rows.leave("a") is caches
    assert rows.names == ()


def test_each_row_is_turned_by_its_own_shift():
    class Turned:
        def select_adapter(self, name):
            self.adapter = name

        def __call__(self, tokens, caches, *, shift):
            self.shift = shift
            return mx.zeros((*tokens.shape, 3))

    def filled():
        cache = KVCache()
        cache.update_and_fetch(mx.zeros((1, 1, 2, 4)), mx.zeros((1, 1, 2, 4)))
        return [cache]

    model = Turned()
    rows = Rows(model, "pictures")
    rows.join("a", filled(), 7)
    assert rows.step([mx.array([1])]).shape == (1, 3)
    assert (model.shift, model.adapter) == (7, "pictures")
    assert rows.run_ahead([1, 2, 3]).shape == (3, 3)
    assert model.shift == 7
    rows.join("b", filled(), 0)
    rows.step([mx.array([1]), mx.array([2])])
    assert model.shift.tolist() == [7, 0]
    rows.leave("a")
    rows.step([mx.array([2])])
    assert model.shift == 0


@pytest.mark.parametrize(
    ("caches", "can"),
    [
        ([KVCache(), RotatingKVCache(8)], True),
        ([KVCache(), RotatingKVCache(8, keep=4)], False),
        ([QuantizedKVCache()], False),
        ([CacheList(KVCache(), RotatingKVCache(8))], True),
        ([CacheList(KVCache(), RotatingKVCache(8, keep=4))], False),
    ],
)
def test_what_can_be_put_together(caches, can):
    assert can_be_rows(caches) is can
