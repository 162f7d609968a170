"""What was computed for earlier prompts, in this run of the program or in one before, gives the tokens it would give
if nothing had been."""

from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest

from engine.api.settings import CacheSettings, KVScheme, SamplingSettings
from engine.cache.disk import DiskLimits, DiskStore
from engine.cache.features import FeatureCache
from engine.cache.prefix import PrefixCache
from engine.cache.scheme import compress
from engine.cache.tiers import TieredPrefixCache
from engine.run.prompt import Prompt
from engine.run.runner import Runner
from engine.run.sampler import Sampler
from tests.tiny_decoders import CONFIGS, RECURRENT, WINDOW, build, ids

TOKENS = 12
SETTINGS = CacheSettings(prefill_step_size=8)
LIMITS = DiskLimits(1 << 24, least_free=0, least_tokens=4, closing_s=60.0)
WHOLES = ("gemma3_text", *RECURRENT)
"""Whose caches have no way back."""


@pytest.fixture(scope="module", params=CONFIGS)
def model(request):
    made = build(request.param)
    made.kind = request.param
    return made


class Program:
    """A runner, and what it remembers."""

    def __init__(self, model, prefixes, settings=SETTINGS):
        self.runner = Runner(model, settings, prefixes, FeatureCache(0))
        self.prefixes = prefixes
        self.answers = {}

    def begin(self, name, prompt, tenant=""):
        given = Prompt(np.array(prompt, np.int32), np.zeros(0, np.int32), (), "")
        sampler = Sampler(SamplingSettings(temperature=0.0), mx.array(prompt), seed=0, logprobs=False)
        cached = self.runner.open(name, given, sampler, tenant)
        for _ in self.runner.prefill(name):
            pass
        self.answers[name] = []
        return cached

    def step(self):
        for name, outcome in self.runner.decode(list(self.answers)).items():
            tokens = outcome if isinstance(outcome, list | tuple) else [outcome]
            self.answers[name] += [token.token_id for token in tokens]

    def end(self, name):
        answer = self.answers.pop(name)
        self.runner.close(name, answer)
        return answer

    def answer(self, prompt, tenant="", count=TOKENS):
        """The tokens, and how many of the prompt's were found computed."""
        cached = self.begin("one", prompt, tenant)
        for _ in range(count):
            self.step()
        return self.end("one"), cached


def forgetful(model, settings=SETTINGS):
    return Program(model, PrefixCache(0), settings)


def remembering(model, settings=SETTINGS):
    return Program(model, PrefixCache(1 << 30), settings)


def started(model, folder, settings=SETTINGS, fingerprint="f" * 32, **changes):
    """With the disk behind it, as the program is when it starts."""
    disk = DiskStore(folder, fingerprint, replace(LIMITS, **changes))

    def fresh():
        return compress(model.make_cache(settings.max_kv_size), settings)

    return Program(model, TieredPrefixCache(1 << 30, disk, fresh, lambda: 1 << 30), settings)


def ended(program):
    program.prefixes.close()


PROMPT = ids(7, 41)


def test_the_same_prompt_again(model):
    program, expected = remembering(model), forgetful(model).answer(PROMPT)[0]
    assert program.answer(PROMPT) == (expected, 0)
    assert program.answer(PROMPT) == (expected, len(PROMPT) - 1)


def test_a_conversation_goes_on(model):
    program = remembering(model)
    answer, _ = program.answer(PROMPT)
    longer = [*PROMPT, *answer, *ids(8, 9)]
    assert program.answer(longer) == (forgetful(model).answer(longer)[0], len(PROMPT) + TOKENS)


def test_another_question_about_the_same_text(model):
    program = remembering(model)
    program.answer([*PROMPT, *ids(9, 5)])
    other = [*PROMPT, *ids(10, 7)]
    found, cached = program.answer(other)
    assert found == forgetful(model).answer(other)[0]
    # Caches without a way back are had at the end of a piece of a prompt.
    assert cached == (len(PROMPT) // 8 * 8 if model.kind in WHOLES else len(PROMPT))


def test_a_stopped_answer_leaves_what_it_wrote(model):
    program = remembering(model)
    answer, _ = program.answer(PROMPT, count=3)
    longer = [*PROMPT, *answer, 1, 2, 3]
    assert program.answer(longer) == (forgetful(model).answer(longer)[0], len(PROMPT) + 3)


def test_no_tenant_finds_what_another_asked(model):
    program, expected = remembering(model), forgetful(model).answer(PROMPT)[0]
    program.answer(PROMPT, tenant="one")
    assert program.answer(PROMPT, tenant="two") == (expected, 0)
    assert program.answer(PROMPT, tenant="one") == (expected, len(PROMPT) - 1)


def test_what_rows_leave_is_found(model):
    program = remembering(model)
    prompts = {f"p{number}": ids(20 + number, 10 + 9 * number) for number in range(3)}
    for name, prompt in prompts.items():
        program.begin(name, prompt)
        program.step()
    for _ in range(TOKENS):
        program.step()
    for name in ("p1", "p0", "p2"):
        answer = program.end(name)
        longer = [*prompts[name], *answer, 5]
        assert program.answer(longer) == (forgetful(model).answer(longer)[0], len(longer) - 1)


@pytest.mark.parametrize("size", [6, 24])
def test_windows_that_keep_their_first_tokens_answer_together_as_alone(size):
    model, settings = build("llama"), replace(SETTINGS, max_kv_size=size)
    prompts = [ids(30 + number, 5 + 8 * number) for number in range(3)]
    alone = [forgetful(model, settings).answer(prompt, count=20)[0] for prompt in prompts]
    program = forgetful(model, settings)
    for number, prompt in enumerate(prompts):
        program.begin(str(number), prompt)
    for _ in range(20):
        program.step()
    assert [program.end(str(number)) for number in range(3)] == alone
    assert not program.runner._rows


# ---- from one run of the program to the next


def test_yesterdays_prompt_is_found_today(model, tmp_path):
    yesterday = started(model, tmp_path)
    answer, _ = yesterday.answer(PROMPT)
    ended(yesterday)
    longer = [*PROMPT, *answer, *ids(8, 9)]
    today = started(model, tmp_path)
    assert today.answer(longer) == (forgetful(model).answer(longer)[0], len(PROMPT) + TOKENS)
    disk = today.prefixes.disk_counts
    assert (disk.hits, disk.tokens_saved) == (1, len(PROMPT) + TOKENS)
    ended(today)


def test_another_question_about_yesterdays_text(model, tmp_path):
    yesterday = started(model, tmp_path)
    yesterday.answer([*PROMPT, *ids(9, 5)])
    ended(yesterday)
    other = [*PROMPT, *ids(10, 7)]
    today = started(model, tmp_path)
    found, cached = today.answer(other)
    assert found == forgetful(model).answer(other)[0]
    assert cached >= len(PROMPT) // 8 * 8 - 8
    ended(today)


def test_what_is_in_memory_is_not_read_again(model, tmp_path):
    program = started(model, tmp_path)
    answer, _ = program.answer(PROMPT)
    program.answer([*PROMPT, *answer, 3])
    disk = program.prefixes.disk_counts
    assert (disk.hits, disk.misses) == (0, 1)
    ended(program)


def test_nothing_of_another_model_is_found(model, tmp_path):
    yesterday = started(model, tmp_path)
    yesterday.answer(PROMPT)
    ended(yesterday)
    other = started(model, tmp_path, fingerprint="e" * 32)
    assert other.answer(PROMPT)[1] == 0
    ended(other)


def test_no_tenant_finds_what_another_asked_yesterday(model, tmp_path):
    yesterday = started(model, tmp_path)
    yesterday.answer(PROMPT, tenant="one")
    ended(yesterday)
    today = started(model, tmp_path)
    assert today.answer(PROMPT, tenant="two")[1] == 0
    assert today.answer(PROMPT, tenant="one")[1] > 0
    ended(today)


def test_an_altered_entry_is_a_miss(model, tmp_path, caplog):
    yesterday = started(model, tmp_path)
    yesterday.answer(PROMPT)
    ended(yesterday)
    for path in tmp_path.glob("*/*"):
        content = bytearray(path.read_bytes())
        content[-5] ^= 1
        path.write_bytes(content)
    today = started(model, tmp_path)
    assert today.answer(PROMPT) == (forgetful(model).answer(PROMPT)[0], 0)
    assert "altered" in caplog.text
    ended(today)


def test_reset_forgets_the_disk_too(model, tmp_path):
    program = started(model, tmp_path)
    program.answer(PROMPT)
    program.prefixes.reset()
    assert program.answer(PROMPT)[1] == 0
    ended(program)


@pytest.mark.parametrize(
    ("kind", "dtype", "settings"),
    [
        ("llama", mx.bfloat16, SETTINGS),
        ("llama", mx.float16, SETTINGS),
        ("falcon_h1", mx.bfloat16, SETTINGS),
        ("llama", mx.float32, replace(SETTINGS, kv_bits=8)),
        ("llama", mx.bfloat16, replace(SETTINGS, kv_bits=3.5, kv_quant_scheme=KVScheme.TURBOQUANT)),
        ("llama", mx.float32, replace(SETTINGS, max_kv_size=WINDOW)),
    ],
)
def test_in_whatever_form_they_are_kept(kind, dtype, settings, tmp_path):
    model = build(kind)
    model.set_dtype(dtype)
    yesterday = started(model, tmp_path, settings)
    answer, _ = yesterday.answer(PROMPT)
    longer = [*PROMPT, *answer, 7]
    expected = yesterday.answer(longer)[0]
    ended(yesterday)
    today = started(model, tmp_path, settings)
    assert today.answer(longer) == (expected, len(longer) - 1)
    ended(today)


def test_what_memory_has_no_room_for_stays_on_the_disk(tmp_path):
    model = build("llama")
    yesterday = started(model, tmp_path)
    yesterday.answer(PROMPT)
    ended(yesterday)
    disk = DiskStore(tmp_path, "f" * 32, LIMITS)
    small = Program(model, TieredPrefixCache(1 << 30, disk, model.make_cache, lambda: 1000))
    assert small.answer(PROMPT)[1] == 0
    assert disk.counts.entries == 1
    disk.close()


def test_short_prompts_are_not_worth_a_file(tmp_path):
    program = started(build("llama"), tmp_path, least_tokens=len(PROMPT) + TOKENS + 1)
    program.answer(PROMPT)
    ended(program)
    assert list(tmp_path.glob("*/*")) == []
