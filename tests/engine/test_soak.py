"""Hundreds of requests in bursts, stopped, broken and alike, through one engine: each is answered as if it were alone.

Decoding in rows adds numbers up in another order than decoding alone, so logits differ in their last digits. A request
is asked only if its answer does not hang on those: alone, it is answered the same when every logit is shaken a hundred
times as hard.
"""

import gc
import itertools
import logging
import random
import threading
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from engine.api.events import Accepted, Failed, Finished, FinishReason, TextDelta, ThinkingDelta, ToolCallDelta
from engine.api.request import GenerateRequest, LoadModel, ResetCaches
from engine.api.settings import CacheSettings, EngineSettings, SpeculationSettings
from engine.host import EngineHost
from engine.run.prefill import Prefill
from engine.run.rows import Rows
from engine.run.sampler import Sampler
from engine.schedule.scheduler import Scheduler
from engine.schedule.sequence import Phase
from tests.engine.soak import MODELS, Broken, broken_requests, draw_request, repetitive_request
from tests.recording import Recorder, ask
from tests.scripted import scripted

REQUESTS = 120
"""Asked of each model."""
DIFFERENT = 24
"""Of them."""
GUESSED = ("text", "calls", "pictures")
"""Models whose caches can be taken back, so that guesses are made of what comes next."""
SHAKEN = 1e-4
"""Of the largest logit; float32 leaves some 1e-6 of it."""
ALONE = EngineSettings(
    max_running=1,
    cache=CacheSettings(prefix_bytes=0, feature_bytes=0),
    speculation=SpeculationSettings(lookup=False),
)
HEADROOM = {"text": 900_000, "calls": 900_000, "pictures": 900_000, "windows": 700_000, "recurrent": 550_000}
"""Bytes beside the weights: more than any request takes that is to be answered, less than several of them."""
RAN_OUT = "[metal::malloc] Attempting to allocate 64 bytes, more than there are."
# Little of everything: prompts in many pieces, caches that are given up again and again, answers that wait.
TIGHT = CacheSettings(
    prefill_step_size=32, max_kv_bytes=1 << 20, prefix_bytes=1 << 20, feature_bytes=20_000, disk_bytes=4 << 20
)


@dataclass(frozen=True)
class Said:
    """One of the answers to a request."""

    token_ids: list[int]
    logprobs: list[float]
    text: str
    thinking: str
    calls: list[tuple[str, str]]
    """Names and arguments."""
    reason: FinishReason | None


@dataclass(frozen=True)
class Lone:
    """How a request is answered by an engine that has nothing else to do, remembers nothing and guesses nothing."""

    request: GenerateRequest
    choices: list[Said]


@dataclass
class Asked:
    """One arrival, and what its sink heard."""

    expected: Lone | Broken
    calls_until_raising: int | None = None
    cancel_at_text: bool = False
    recorder: Recorder = field(default_factory=Recorder)
    raised: bool = False
    heard_after: bool = False
    """Anything after its sink had raised."""

    def sink(self, client):
        calls = itertools.count(1)

        def hear(events):
            self.heard_after |= self.raised
            self.recorder(events)
            if self.cancel_at_text and any(isinstance(event, TextDelta | ThinkingDelta) for event in events):
                client.cancel(events[0].request_id)
            if next(calls) == self.calls_until_raising:
                self.raised = True
                raise ZeroDivisionError("a sink's own mistake")

        return hear


@pytest.fixture(scope="module", params=MODELS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    return MODELS[kind](tmp_path_factory.mktemp("soak") / kind)


@pytest.fixture(scope="module")
def lone(kind, folder):
    """As many requests as are to be asked, each with its answer."""
    rng = random.Random(f"soak {kind}")
    found, tried = [], 0
    with EngineHost(ALONE) as host:
        assert isinstance(ask(host.client, LoadModel(str(folder))).end(), Finished)
        while len(found) < DIFFERENT:
            tried += 1
            draw = draw_request if found else repetitive_request
            request = draw(rng, pictures=kind == "pictures", tools=kind == "calls")
            answer = answered(host.client, request)
            if all(token_ids(shaken(host.client, request, seed)) == token_ids(answer) for seed in (1, 2)):
                found.append(answer)
    assert tried < 1.25 * DIFFERENT, "answers hang on rounding more often than chance allows"
    return found


def answered(client, request):
    recorder = ask(client, request)
    end = recorder.end()
    assert isinstance(end, Finished), end
    return Lone(request, said(recorder, request.n))


def said(recorder, count):
    """What was heard of each of the answers to a request so far."""
    deltas = [event for event in recorder.events if isinstance(event, TextDelta | ThinkingDelta)]
    calls = [event for event in recorder.events if isinstance(event, ToolCallDelta)]
    end = next((event for event in recorder.events if isinstance(event, Finished)), None)
    choices = []
    for number in range(count):
        own = [delta for delta in deltas if delta.choice == number]
        tokens = [token for delta in own for token in delta.tokens]
        choices.append(
            Said(
                [token.token_id for token in tokens],
                [token.logprob for token in tokens],
                "".join(delta.text for delta in own if isinstance(delta, TextDelta)),
                "".join(delta.text for delta in own if isinstance(delta, ThinkingDelta)),
                [(call.name, call.arguments) for call in calls if call.choice == number],
                # Stopped before the engine had so much as begun, it has no choices.
                end.choices[number].reason if end and end.choices else None,
            )
        )
    return choices


def token_ids(lone):
    return [choice.token_ids for choice in lone.choices]


def shaken(client, request, seed):
    """The answer when every logit is a little off."""
    draw, rng = Sampler.draw, np.random.default_rng(seed)

    def draw_shaken(self, logits, *rest):
        noise = mx.array(rng.normal(size=logits.shape).astype(np.float32))
        return draw(self, logits + SHAKEN * mx.abs(logits).max() * noise, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sampler, "draw", draw_shaken)
        return answered(client, request)


def test_all_are_answered_as_if_alone_and_nothing_is_left(kind, folder, lone, tmp_path, monkeypatch, caplog):
    # What a test's log keeps of a sink's mistake holds all that was going on at the time.
    caplog.set_level(logging.CRITICAL, "fovea.engine")
    threads = set(threading.enumerate())
    weights = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))
    together = EngineSettings(
        max_running=6,
        max_waiting=1000,
        memory_limit=memory() + weights + HEADROOM[kind],
        cache=replace(TIGHT, disk_dir=tmp_path / "disk"),
    )
    with scripted(monkeypatch, together) as host:
        assert isinstance(ask(host.client, LoadModel(str(folder))).end(), Finished)
        host.script.play()
        at_first = memory()
        shortage = Shortage(monkeypatch)
        asked = write_script(host, lone, broken_requests(pictures=kind == "pictures"), shortage)
        host.script.play()
        for arrival in asked:
            check(arrival)
        check_that_all_of_it_was_met(asked, shortage, guesses=kind in GUESSED, calls=kind == "calls")
        check_nothing_is_left(host, at_first)
    assert set(threading.enumerate()) <= threads


class Shortage:
    """Memory that runs out where it is told to, and who waited for some meanwhile."""

    def __init__(self, monkeypatch):
        self.waited = False
        self.hit = []
        self._due = []
        for owner, method in ((Prefill, "_forward"), (Rows, "step")):
            monkeypatch.setattr(owner, method, self._hungry(getattr(owner, method), owner))
        monkeypatch.setattr(Scheduler, "plan", self._watched(Scheduler.plan))

    def due(self, owner):
        self._due.append(owner)

    def _hungry(self, whole, owner):
        def hungry(instance, *arguments):
            if owner in self._due:
                self._due.remove(owner)
                self.hit.append(owner)
                raise RuntimeError(RAN_OUT)
            return whole(instance, *arguments)

        return hungry

    def _watched(self, plan):
        def watched(scheduler):
            found = plan(scheduler)
            self.waited |= any(sequence.phase is Phase.ROOM for sequence in found.held_up)
            return found

        return watched


def write_script(host, lone, broken, shortage):
    """Bursts, now while others run and now after a pause, every third arrival disturbed in some way."""
    rng = random.Random(7)
    asked, turn = [], host.script.turn
    while len(asked) < REQUESTS:
        turn += rng.choice((0, 3, 40, 400))
        if rng.random() < 0.2:
            host.script.at(turn + 2, partial(shortage.due, rng.choice((Prefill, Rows))))
        for _ in range(rng.choice((1, 3, 24))):
            arrival = Asked(rng.choice(broken) if rng.random() < 0.08 else rng.choice(lone))
            if rng.random() < 0.08:
                arrival.calls_until_raising = rng.randint(1, 12)
            elif rng.random() < 0.1:
                arrival.cancel_at_text = True
            asked.append(arrival)
            host.script.at(turn, lambda arrival=arrival: submit(host.client, arrival))
            if rng.random() < 0.15:
                host.script.at(turn + rng.randint(0, 60), lambda arrival=arrival: cancel(host.client, arrival))
    # The last ones are left alone: each that is broken, and one that can be guessed.
    for number, expected in enumerate((*broken, lone[0])):
        asked.append(Asked(expected))
        host.script.at(turn + 1000 * (number + 1), partial(submit, host.client, asked[-1]))
    return asked


def submit(client, arrival):
    arrival.recorder.request_id = client.submit(arrival.expected.request, arrival.sink(client))


def cancel(client, arrival):
    client.cancel(arrival.recorder.request_id)


def check(arrival):
    heard, expected = arrival.recorder, arrival.expected
    assert type(heard.events[0]) is Accepted
    assert not arrival.heard_after
    if arrival.raised:
        assert len(heard.terminal) <= 1
    else:
        assert [event for event in heard.events if event in heard.terminal] == [heard.events[-1]]
    end = heard.terminal[0] if heard.terminal else None
    if isinstance(end, Failed) and (isinstance(expected, Broken) or end.code != "out_of_memory"):
        assert isinstance(expected, Broken), end
        assert end.code in (expected.code, "out_of_memory")
        return
    if isinstance(expected, Broken):
        assert end is None or end.reason is FinishReason.CANCELLED, "what is broken cannot be answered"
        return
    for one, alone in zip(said(heard, expected.request.n), expected.choices, strict=True):
        check_choice(one, alone)
    if isinstance(end, Finished) and end.reason is not FinishReason.CANCELLED:
        assert end.usage.completion_tokens == sum(len(alone.token_ids) for alone in expected.choices)


def check_choice(one, alone):
    """All of it, or a beginning if it was stopped."""
    is_whole = one.reason not in (None, FinishReason.CANCELLED)
    count = len(alone.token_ids) if is_whole else len(one.token_ids)
    assert one.token_ids == alone.token_ids[:count]
    assert one.logprobs == pytest.approx(alone.logprobs[:count], abs=1e-3)
    if is_whole:
        assert (one.text, one.thinking) == (alone.text, alone.thinking)
        assert (one.calls, one.reason) == (alone.calls, alone.reason)


def check_that_all_of_it_was_met(asked, shortage, *, guesses, calls):
    """A soak in which nothing happens proves nothing."""
    ends = [arrival.recorder.terminal[0] for arrival in asked if arrival.recorder.terminal]
    reasons = {end.reason for end in ends if isinstance(end, Finished)}
    called = {FinishReason.TOOL_CALLS} if calls else set()
    assert reasons == {FinishReason.STOP, FinishReason.LENGTH, FinishReason.CANCELLED} | called
    assert any(end.usage.thinking_tokens for end in ends if isinstance(end, Finished)) == calls
    assert {end.code for end in ends if isinstance(end, Failed)} == {
        "out_of_memory",
        *(arrival.expected.code for arrival in asked if isinstance(arrival.expected, Broken)),
    }
    assert shortage.waited
    assert set(shortage.hit) == {Prefill, Rows}
    assert any(arrival.raised for arrival in asked)
    usages = [end.usage for end in ends if isinstance(end, Finished)]
    assert any(usage.cached_tokens for usage in usages)
    assert any(usage.accepted_tokens for usage in usages) == guesses


def check_nothing_is_left(host, at_first):
    loop = host.loop
    generation, session = loop._generation, loop._session
    assert generation.idle
    assert generation._answers == {}
    runner = generation._runner
    assert runner._slots == {}
    assert [rows.names for rows in runner._rows.values() if rows.names or rows._caches] == []
    assert loop._outbox.open_requests == ()
    kept = session.prefixes.bytes + session.features.bytes
    assert kept > 0
    arrays = [array for entry in session.prefixes._entries.values() for array in arrays_of(entry.caches)]
    arrays += [features for features, _ in session.features._kept.values()]
    # MLX makes no copy of an array whose memory is too large by less than that.
    assert 0 <= memory() - at_first - kept <= 16384 * len(arrays)
    del arrays
    assert isinstance(ask(host.client, ResetCaches()).end(), Finished)
    host.script.play()
    # MLX's compiled functions keep the numbers in them, however often they are called.
    assert 0 <= memory() - at_first < 1000


def arrays_of(caches):
    return [leaf for _, leaf in tree_flatten([layer.state for layer in caches]) if isinstance(leaf, mx.array)]


def memory():
    gc.collect()
    return mx.get_active_memory()
