"""Guesses in the runner: the tokens are those without, and the caches hold what was handed out and nothing else."""

from dataclasses import dataclass, field

import mlx.core as mx
import numpy as np
import pytest

from engine.api.settings import CacheSettings, KVScheme, SamplingSettings
from engine.cache.features import FeatureCache
from engine.cache.prefix import PrefixCache
from engine.run.prompt import Prompt
from engine.run.runner import Runner
from engine.run.sampler import Sampler
from engine.speculate.speculation import Speculation
from tests.tiny_decoders import CONFIGS, RECURRENT, VOCABULARY, build, ids

TOKENS = 40
GREEDY = {"temperature": 0.0}
WARM = {"temperature": 1.0}


@dataclass
class Oracle:
    """A drafter that knows the answer, and now and then gets a token of it wrong."""

    answer: list[int]
    prompt_length: int
    wrong: float = 0.3
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(3))
    always: bool = True
    asked: int = 0

    def propose(self, history, count):
        self.asked += 1
        said = len(history) - self.prompt_length
        assert history[self.prompt_length :].tolist() == self.answer[:said]
        draft = self.answer[said : said + count]
        if draft and self.rng.random() < self.wrong:
            draft[self.rng.integers(len(draft))] = int(self.rng.integers(VOCABULARY))
        return draft


class Engine:
    """A runner that answers prompts of token ids."""

    def __init__(self, model, **cache):
        self.prefixes = PrefixCache(1 << 30)
        self.model = model
        self.runner = Runner(model, CacheSettings(**cache), self.prefixes, FeatureCache(0))

    def open(self, name, prompt, settings=GREEDY, speculation=None, seed=5):
        sampler = Sampler(SamplingSettings(**settings), mx.array(prompt), seed=seed, logprobs=True)
        asked = Prompt(np.array(prompt, np.int32), np.zeros(0, np.int32), (), "")
        self.runner.open(name, asked, sampler, "", speculation)
        for _ in self.runner.prefill(name):
            pass

    def tokens(self, name, count=TOKENS):
        """As they come, at least so many, and how many steps they took."""
        found, steps = [], 0
        while len(found) < count:
            outcome = self.runner.decode([name])[name]
            if isinstance(outcome, Exception):
                raise outcome
            found += [token.token_id for token in outcome]
            steps += 1
        return found, steps

    def plain(self, prompt, settings=GREEDY, count=TOKENS + 20):
        self.open("plain", prompt, settings)
        found, _ = self.tokens("plain", count)
        self.runner.close("plain", None)
        return found


def guesses(answer, prompt, max_tokens=TOKENS, **options):
    return Speculation(Oracle(answer, len(prompt), **options), np.array(prompt), most=6, max_tokens=max_tokens)


@pytest.fixture(scope="module")
def llama():
    return build("llama")


@pytest.mark.parametrize("settings", [GREEDY, WARM, GREEDY | {"repetition_penalty": 1.4, "no_repeat_ngram_size": 3}])
@pytest.mark.parametrize("kind", CONFIGS)
def test_the_tokens_are_those_without(kind, settings):
    engine, prompt = Engine(build(kind)), ids(1, 11)
    expected = engine.plain(prompt, settings)
    speculation = guesses(expected, prompt)
    engine.open("a", prompt, settings, speculation)
    found, steps = engine.tokens("a")
    assert found == expected[: len(found)]
    assert len(found) == TOKENS, "not a token more than may be"
    if kind in RECURRENT or kind == "gemma3_text":
        assert (speculation.drafted, steps) == (0, TOKENS)
    else:
        assert steps < TOKENS / 2
        assert TOKENS - steps == speculation.accepted < speculation.drafted


def test_a_window_is_guessed_ahead_of_until_it_is_full():
    engine, prompt = Engine(build("gemma3_text", sliding_window=32)), ids(1, 5)
    expected = engine.plain(prompt)
    speculation = guesses(expected, prompt, wrong=0.5)
    engine.open("a", prompt, GREEDY, speculation)
    found, _ = engine.tokens("a")
    assert found == expected[:TOKENS]
    assert 0 < speculation.accepted <= 32 - len(prompt)


@pytest.mark.parametrize(
    "cache", [{}, {"kv_bits": 4, "kv_group_size": 32}, {"kv_bits": 4, "kv_quant_scheme": KVScheme.TURBOQUANT}]
)
def test_caches_hold_what_was_handed_out(cache):
    """Whatever an answer is cut to, the caches kept of it are those of a lone run that was cut there."""
    model, prompt = build("llama", head_dim=32), ids(2, 9)
    for cut in (0, 1, 4, 5):
        engine, without = Engine(model, **cache), Engine(model, **cache)
        expected = without.plain(prompt)
        engine.open("a", prompt, GREEDY, guesses(expected, prompt, wrong=0.2))
        found, steps = engine.tokens("a", 20)
        assert steps < 20
        written = found[: len(found) - cut]
        engine.runner.close("a", written)
        without.open("b", prompt)
        lone, _ = without.tokens("b", len(written))
        without.runner.close("b", lone)
        assert lone == written
        assert kept(engine) == kept(without) == [(*prompt, *written)]
        follow_up = [*prompt, *written, 7, 8]
        assert engine.plain(follow_up) == without.plain(follow_up)
        (mine,), (theirs,) = (list(each.prefixes._entries.values()) for each in (engine, without))
        for layer, other in zip(mine.caches, theirs.caches, strict=True):
            assert layer.offset == other.offset == len(prompt) + len(written)


def test_nothing_is_guessed_while_others_decode(llama):
    engine, prompts = Engine(llama), {"a": ids(1, 7), "b": ids(2, 12)}
    expected = {name: engine.plain(prompt, WARM) for name, prompt in prompts.items()}
    said = {name: [] for name in prompts}
    speculations = {name: guesses(expected[name], prompt, max_tokens=60) for name, prompt in prompts.items()}

    def step(*names):
        for name, outcome in engine.runner.decode(names).items():
            said[name] += [token.token_id for token in outcome]

    engine.open("a", prompts["a"], WARM, speculations["a"])
    for _ in range(4):
        step("a")
    before = len(said["a"])
    assert before > 4
    engine.open("b", prompts["b"], WARM, speculations["b"])
    for _ in range(6):
        step("a", "b")
    assert (len(said["a"]) - before, len(said["b"])) == (6, 6)
    assert speculations["b"].drafted == 0
    engine.runner.close("a", said["a"])
    for _ in range(5):
        step("b")
    assert len(said["b"]) > 11
    assert said == {name: expected[name][: len(said[name])] for name in prompts}


def test_a_guess_that_never_was_there_costs_no_step(llama):
    engine, prompt = Engine(llama), ids(4, 8)
    expected = engine.plain(prompt)
    silent = guesses([], prompt)
    silent._drafter = Silent()
    engine.open("a", prompt, GREEDY, silent)
    assert engine.tokens("a") == (expected[:TOKENS], TOKENS)


def test_the_end_of_a_sampler_in_a_guess_is_its_rows_end(llama):
    engine, prompt = Engine(llama), ids(5, 8)
    expected = engine.plain(prompt)
    engine.open("a", prompt, GREEDY, guesses(expected, prompt, wrong=0))
    slot = engine.runner._slots["a"]
    slot.sampler._budget = Breaks(after=7)
    said = []
    while not isinstance(outcome := engine.runner.decode(["a"])["a"], Exception):
        said += outcome
    assert isinstance(outcome, ZeroDivisionError)
    assert len(said) <= 7
    engine.runner.close("a", None)
    assert kept(engine) == []
    assert engine.plain(prompt) == expected


def test_several_answers_from_one_prompt(llama):
    engine, prompt = Engine(llama), ids(7, 10)
    expected = {}
    for seed in (5, 6, 7):
        engine.open("lone", prompt, WARM, seed=seed)
        expected[seed], _ = engine.tokens("lone", 20)
        engine.runner.close("lone", None)
    engine.open("5", prompt, WARM, seed=5)
    for seed in (6, 7):
        sampler = Sampler(SamplingSettings(**WARM), mx.array(prompt), seed=seed, logprobs=True)
        engine.runner.fork("5", str(seed), sampler)
    said = {5: [], 6: [], 7: []}
    for _ in range(20):
        for name, outcome in engine.runner.decode([str(seed) for seed in said]).items():
            said[int(name)] += [token.token_id for token in outcome]
    assert said == expected
    engine.runner.close("6", said[6])
    engine.runner.close("5", said[5])
    assert sorted(kept(engine)) == sorted((*prompt, *said[seed]) for seed in (5, 6))


class Silent:
    always = True

    def propose(self, history, count):
        return []


class Breaks:
    """A budget with a mistake in it."""

    waits = False

    def __init__(self, after):
        self.left = after

    def forced(self):
        return None

    def accept(self, token):
        self.left -= 1
        return 1 / (self.left + 1)


def kept(engine):
    """The keys in the prefix cache."""
    return [tuple(entry.key.tolist()) for entry in engine.prefixes._entries.values()]
