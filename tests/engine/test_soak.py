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
from dataclasses import dataclass, field

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from engine.api.events import Accepted, Failed, Finished, FinishReason, TextDelta
from engine.api.request import GenerateRequest, LoadModel
from engine.api.settings import CacheSettings, EngineSettings
from engine.host import EngineHost
from engine.run.sampler import Sampler
from tests.engine.soak import MODELS, Broken, broken_requests, draw_request
from tests.recording import Recorder, ask
from tests.scripted import scripted

REQUESTS = 150
"""Asked of each model."""
DIFFERENT = 24
"""Of them."""
SHAKEN = 1e-4
"""Of the largest logit; float32 leaves some 1e-6 of it."""
ALONE = EngineSettings(max_running=1, cache=CacheSettings(prefix_bytes=0, feature_bytes=0))
TOGETHER = EngineSettings(
    max_running=6,
    max_waiting=1000,
    # Little of everything: prompts in many pieces, caches that are given up again and again, answers that wait.
    cache=CacheSettings(prefill_step_size=32, max_kv_bytes=1 << 20, prefix_bytes=1 << 20, feature_bytes=20_000),
)


@dataclass(frozen=True)
class Lone:
    """How a request is answered by an engine that has nothing else to do and remembers nothing."""

    request: GenerateRequest
    token_ids: list[int]
    logprobs: list[float]
    text: str
    reason: FinishReason


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
            if self.cancel_at_text and any(isinstance(event, TextDelta) for event in events):
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
            request = draw_request(rng, pictures=kind == "pictures")
            answer = answered(host.client, request)
            if all(shaken(host.client, request, seed) == answer.token_ids for seed in (1, 2)):
                found.append(answer)
    assert tried < 1.25 * DIFFERENT, "answers hang on rounding more often than chance allows"
    return found


def answered(client, request):
    recorder = ask(client, request)
    end = recorder.end()
    assert isinstance(end, Finished), end
    return Lone(request, recorder.token_ids, recorder.logprobs, recorder.text, end.reason)


def shaken(client, request, seed):
    """The tokens of the answer when every logit is a little off."""
    draw, rng = Sampler.draw, np.random.default_rng(seed)

    def draw_shaken(self, logits, *rest):
        noise = mx.array(rng.normal(size=logits.shape).astype(np.float32))
        return draw(self, logits + SHAKEN * mx.abs(logits).max() * noise, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sampler, "draw", draw_shaken)
        return answered(client, request).token_ids


def test_all_are_answered_as_if_alone_and_nothing_is_left(kind, folder, lone, monkeypatch, caplog):
    # What a test's log keeps of a sink's mistake holds all that was going on at the time.
    caplog.set_level(logging.CRITICAL, "fovea.engine")
    threads = set(threading.enumerate())
    with scripted(monkeypatch, TOGETHER) as host:
        assert isinstance(ask(host.client, LoadModel(str(folder))).end(), Finished)
        host.script.play()
        at_first = memory()
        asked = write_script(host, lone, broken_requests(pictures=kind == "pictures"))
        host.script.play()
        for arrival in asked:
            check(arrival)
        check_that_every_kind_of_end_was_met(asked)
        check_nothing_is_left(host.loop, at_first)
    assert set(threading.enumerate()) <= threads


def write_script(host, lone, broken):
    """Bursts, now while others run and now after a pause, every third arrival disturbed in some way."""
    rng = random.Random(7)
    asked, turn = [], host.script.turn
    while len(asked) < REQUESTS:
        turn += rng.choice((0, 3, 40, 400))
        for _ in range(rng.randint(1, 25)):
            arrival = Asked(rng.choice(broken) if rng.random() < 0.08 else rng.choice(lone))
            if rng.random() < 0.08:
                arrival.calls_until_raising = rng.randint(1, 12)
            elif rng.random() < 0.1:
                arrival.cancel_at_text = True
            asked.append(arrival)
            host.script.at(turn, lambda arrival=arrival: submit(host.client, arrival))
            if rng.random() < 0.15:
                host.script.at(turn + rng.randint(0, 60), lambda arrival=arrival: cancel(host.client, arrival))
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
    if isinstance(end, Failed):
        assert isinstance(expected, Broken), end
        assert end.code == expected.code
        return
    if isinstance(expected, Broken):
        assert end is None or end.reason is FinishReason.CANCELLED, "what is broken cannot be answered"
        return
    is_whole = end is not None and end.reason is not FinishReason.CANCELLED
    count = len(expected.token_ids) if is_whole else len(heard.token_ids)
    assert heard.token_ids == expected.token_ids[:count]
    assert heard.logprobs == pytest.approx(expected.logprobs[:count], abs=1e-3)
    assert expected.text.startswith(heard.text) or not is_whole
    if is_whole:
        assert (heard.text, end.reason) == (expected.text, expected.reason)
        assert end.usage.completion_tokens == len(expected.token_ids)


def check_that_every_kind_of_end_was_met(asked):
    """A soak in which nothing happens proves nothing."""
    ends = [arrival.recorder.terminal[0] for arrival in asked if arrival.recorder.terminal]
    reasons = {end.reason for end in ends if isinstance(end, Finished)}
    assert reasons == {FinishReason.STOP, FinishReason.LENGTH, FinishReason.CANCELLED}
    assert {end.code for end in ends if isinstance(end, Failed)} == {
        arrival.expected.code for arrival in asked if isinstance(arrival.expected, Broken)
    }
    assert any(arrival.raised for arrival in asked)
    assert any(end.usage.cached_tokens for end in ends if isinstance(end, Finished))


def check_nothing_is_left(loop, at_first):
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
    session.prefixes.reset()
    session.features.reset()
    # MLX's compiled functions keep the numbers in them.
    assert 0 <= memory() - at_first < 500


def arrays_of(caches):
    return [leaf for _, leaf in tree_flatten([layer.state for layer in caches]) if isinstance(leaf, mx.array)]


def memory():
    gc.collect()
    return mx.get_active_memory()
