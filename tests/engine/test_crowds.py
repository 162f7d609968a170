"""Many at once: who goes first, who waits for whom, who is refused, and whose failure is whose. Counted in steps."""

import threading

import pytest

from engine.api.events import Failed, Finished, FinishReason, TextDelta
from engine.api.request import LoadModel, Priority
from engine.api.response_format import Regex
from engine.api.settings import CacheSettings, EngineSettings, SamplingSettings
from engine.constrain.constraint import GrammarConstraint
from engine.run.rows import Rows
from engine.run.text import TextStream
from engine.session import Session
from tests.engine.crowd import Crowd
from tests.recording import ask
from tests.scripted import scripted

CHUNK = 16
A_TOKEN = 256
"""Bytes that the tiny model's caches hold for one."""
LETTERS = SamplingSettings(logit_bias=((ord("a") - ord("!"), 100.0),))
"""A letter is a whole character: no token is held back for the next."""
BIAS = SamplingSettings(logit_bias=((0, 1.0),))
"""What marks a request for the tests that break one among several."""


@pytest.fixture
def crowd(tiny_llama, monkeypatch, request):
    """With the tiny model loaded, under the settings of the test's mark."""
    options = {"cache": CacheSettings(prefill_step_size=CHUNK, prefix_bytes=0), **getattr(request, "param", {})}
    with scripted(monkeypatch, EngineSettings(**options)) as host:
        assert isinstance(ask(host.client, LoadModel(str(tiny_llama))).end(), Finished)
        crowd = Crowd(host)
        crowd.loop = host.loop
        yield crowd


def settings(**options):
    return pytest.mark.parametrize("crowd", [options], indirect=True)


def kv_tokens(count):
    return CacheSettings(prefill_step_size=CHUNK, prefix_bytes=0, max_kv_bytes=count * A_TOKEN)


# ---- who goes first


@settings(max_running=1)
def test_somebody_who_waits_goes_before_programs_that_came_earlier(crowd):
    crowd.ask("a", priority=Priority.API)
    for name in "bc":
        crowd.ask(name, turn=2, priority=Priority.API)
    crowd.ask("d", turn=3, priority=Priority.CHAT)
    crowd.play()
    assert crowd.order(Finished) == ["a", "d", "b", "c"]


def test_a_prompt_of_somebody_who_waits_is_read_before_the_rest_of_a_programs(crowd):
    crowd.ask("long", 20 * CHUNK, priority=Priority.API)
    crowd.ask("short", 2 * CHUNK, turn=8, priority=Priority.CHAT)
    crowd.play()
    assert crowd.order(TextDelta) == ["short", "long"]
    first, last = [turn for turn, _ in crowd.prefilled("short")][:: len(crowd.prefilled("short")) - 1]
    assert not [turn for turn, _ in crowd.prefilled("long") if first <= turn <= last]


# ---- who may wait


@settings(max_running=2, max_waiting=1)
def test_one_more_than_may_wait_is_refused_and_the_others_are_answered(crowd):
    for name in "abcd":
        crowd.ask(name)
    ends = crowd.play()
    assert ends["d"].code == "busy"
    assert "3 requests" in ends["d"].message
    assert all(isinstance(ends[name], Finished) for name in "abc")
    crowd.ask("e")
    assert isinstance(crowd.play()["e"], Finished)


@settings(max_running=3, max_waiting=0)
def test_where_nobody_may_wait_as_many_as_may_run_are_taken_at_once(crowd):
    for name in "abcd":
        crowd.ask(name)
    codes = [end.code if isinstance(end, Failed) else end.reason for end in crowd.play().values()]
    assert codes == [FinishReason.LENGTH] * 3 + ["busy"]


# ---- room


@settings(cache=kv_tokens(100))
def test_what_can_never_fit_is_refused_with_numbers_while_others_go_on(crowd):
    assert crowd.loop._session.room.bytes(1) == A_TOKEN
    crowd.ask("a", 10, max_tokens=50)
    crowd.ask("big", 90, turn=6, max_tokens=50)
    crowd.ask("c", 10, turn=7)
    ends = crowd.play()
    assert ends["big"].code == "not_enough_memory"
    assert "93 tokens" in ends["big"].message
    assert "37 kB" in ends["big"].message
    assert "26 kB" in ends["big"].message
    assert crowd.order(Failed | Finished) == ["big", "c", "a"]


@settings(cache=kv_tokens(100))
def test_one_that_has_to_wait_for_memory_begins_when_another_has_ended(crowd):
    crowd.ask("a", 10, max_tokens=50)
    crowd.ask("b", 10, turn=5, max_tokens=50)
    crowd.play()
    (ended,) = crowd.turns("a", Finished)
    assert crowd.prefilled("b")[0][0] > ended
    assert crowd.turns("b", TextDelta)[0] <= ended + 4


@settings(cache=kv_tokens(100))
def test_a_small_one_does_not_overtake_a_large_one_that_waits_for_memory(crowd):
    crowd.ask("a", 10, max_tokens=50)
    crowd.ask("large", 60, turn=4, max_tokens=20)
    crowd.ask("small", 5, turn=6, max_tokens=5)
    crowd.play()
    assert crowd.order(Finished)[0] == "a"
    assert crowd.prefilled("large")[0] < crowd.prefilled("small")[0]


@settings(cache=kv_tokens(100))
def test_a_chat_that_waits_for_a_programs_memory_lets_its_prompt_be_read(crowd):
    crowd.ask("program", 4 * CHUNK, max_tokens=20, priority=Priority.API)
    crowd.ask("chat", 10, turn=3, max_tokens=30, priority=Priority.CHAT)
    ends = crowd.play()
    assert [type(end) for end in ends.values()] == [Finished] * 2
    assert crowd.order(TextDelta) == ["program", "chat"]


@settings(cache=kv_tokens(100))
def test_one_that_waits_for_memory_can_be_stopped(crowd):
    crowd.ask("a", 10, max_tokens=50)
    crowd.ask("b", 10, turn=5, max_tokens=50)
    crowd.cancel("b", turn=20)
    assert crowd.play()["b"].reason is FinishReason.CANCELLED
    assert crowd.order(Finished) == ["b", "a"]
    assert crowd.prefilled("b") == []


# ---- one step


def test_a_long_prompt_holds_no_stream_up_for_longer_than_one_piece(crowd):
    for name in "ab":
        crowd.ask(name, max_tokens=80, sampling=LETTERS)
    crowd.ask("long", 20 * CHUNK, turn=20)
    crowd.play()
    pieces = crowd.prefilled("long")
    reading = [turn for turn, _ in pieces]
    assert len(reading) > 20
    assert [done for _, done in pieces[:20]] == [CHUNK * (piece + 1) for piece in range(20)]
    assert len(set(reading)) == len(reading), "two pieces in one step"
    for name in "ab":
        while_reading = [turn for turn in token_turns(crowd, name) if reading[0] <= turn <= reading[-1]]
        assert while_reading == list(range(reading[0], reading[-1] + 1)), "a step without a token, or with two"


def token_turns(crowd, name):
    return [
        turn for turn, who, event in crowd.diary if who == name and isinstance(event, TextDelta) for _ in event.tokens
    ]


def test_a_prompt_that_is_read_decodes_in_the_next_step(crowd):
    crowd.ask("a", max_tokens=60)
    crowd.ask("b", 2 * CHUNK, turn=10)
    crowd.play()
    assert crowd.turns("b", TextDelta)[0] <= crowd.prefilled("b")[-1][0] + 2


def test_a_form_that_takes_long_to_be_made_ready_holds_nobody_up(crowd):
    may_end = threading.Event()
    compiler = crowd.loop._session.compiler
    build = compiler._build

    def slow(*arguments):
        may_end.wait()
        return build(*arguments)

    compiler._build = slow
    crowd.ask("form", response_format=Regex("[ab]{4}"))
    crowd.ask("b", 2 * CHUNK, turn=5)
    crowd.at(200, may_end.set)
    ends = crowd.play()
    assert crowd.order(Finished) == ["b", "form"]
    assert set(crowd.recorders["form"].text) <= set("ab")
    assert all(isinstance(end, Finished) for end in ends.values())


# ---- whose failure is whose


def marked(sampler):
    return sampler._bias is not None


def fail_in_the_middle(monkeypatch, name, at):
    """A sampler of a marked request raises in its call number `at` of the method `name`."""
    from engine.run.sampler import Sampler

    method, calls = getattr(Sampler, name), []

    def failing(self, *arguments):
        if marked(self):
            calls.append(1)
            if len(calls) == at:
                raise ArithmeticError("one row's own trouble")
        return method(self, *arguments)

    monkeypatch.setattr(Sampler, name, failing)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("method", ["draw", "accept"])
def test_one_whose_choice_of_tokens_fails_in_a_row_of_several_fails_alone(crowd, monkeypatch, caplog, method, n):
    crowd.ask("a", max_tokens=20)
    crowd.ask("b", max_tokens=20)
    alone = {name: crowd.recorders[name] for name in "ab" if crowd.play()}
    fail_in_the_middle(monkeypatch, method, 8)
    for name in "ab":
        crowd.ask(name, max_tokens=20)
    crowd.ask("marked", turn=3, max_tokens=20, sampling=BIAS, n=n)
    ends = crowd.play()
    assert ends["marked"].code == "internal"
    assert 0 < len(crowd.recorders["marked"].token_ids) < 20
    assert {name: crowd.recorders[name].token_ids for name in "ab"} == {
        name: recorder.token_ids for name, recorder in alone.items()
    }


def test_a_guess_that_fails_ends_its_answer_alone(crowd, monkeypatch, caplog):
    """Nobody else decodes while guesses are made, but somebody may be waiting."""

    run_ahead, calls = Rows.run_ahead, []

    def torn(self, tokens):
        calls.append(tokens)
        logits = run_ahead(self, tokens)
        if len(calls) == 1:
            raise RuntimeError("[metal::malloc] Attempting to allocate 64 bytes, more than there are.")
        return logits

    monkeypatch.setattr(Rows, "run_ahead", torn)
    crowd.ask("a", max_tokens=60, sampling=LETTERS)
    crowd.ask("long", 20 * CHUNK, turn=8)
    ends = crowd.play()
    assert ends["a"].code == "out_of_memory"
    assert isinstance(ends["long"], Finished)


def test_a_form_that_becomes_too_much_fails_alone(crowd, monkeypatch):
    mask, calls = GrammarConstraint.mask, []

    def torn(self, *arguments):
        calls.append(1)
        # Nothing of it may be drawn: as if the model lacked the tokens to go on.
        return mask(self, *arguments) if len(calls) < 5 else mask(self, 0, *arguments[1:])

    monkeypatch.setattr(GrammarConstraint, "mask", torn)
    crowd.ask("a", max_tokens=20)
    crowd.ask("form", turn=2, max_tokens=20, response_format=Regex("[a-z]{15}"))
    ends = crowd.play()
    assert ends["form"].code == "unreachable_format"
    assert isinstance(ends["a"], Finished)


def test_a_step_without_memory_fails_those_in_it_and_the_engine_serves_on(crowd, monkeypatch, caplog):
    step, leave = Rows.step, Rows.leave
    steps, doomed = [], set()

    def hungry(self, *arguments):
        steps.append(1)
        logits = step(self, *arguments)
        if len(steps) == 12:
            doomed.update(self.names)
            raise RuntimeError("[metal::malloc] Attempting to allocate 64 bytes, more than there are.")
        return logits

    def lost(self, name):
        if name in doomed:
            raise RuntimeError("What the step has left behind cannot be read.")
        return leave(self, name)

    monkeypatch.setattr(Rows, "step", hungry)
    monkeypatch.setattr(Rows, "leave", lost)
    for name in "abc":
        crowd.ask(name, max_tokens=40)
    crowd.ask("d", 3 * CHUNK, turn=12, max_tokens=5)
    ends = crowd.play()
    assert [ends[name].code for name in "abc"] == ["out_of_memory"] * 3
    assert all(0 < len(crowd.recorders[name].token_ids) < 40 for name in "abc")
    assert ends["d"].reason is FinishReason.LENGTH
    crowd.ask("e", max_tokens=40)
    assert crowd.play()["e"].reason is FinishReason.LENGTH
    assert crowd.loop._generation.idle


@pytest.mark.parametrize(("owner", "method"), [(Session, "regions"), (TextStream, "finish")])
def test_an_answer_whose_end_cannot_be_written_fails_alone(crowd, monkeypatch, caplog, owner, method):
    def torn(self, *arguments, **options):
        raise ArithmeticError("the end of it")

    monkeypatch.setattr(owner, method, torn)
    crowd.ask("a", max_tokens=5)
    crowd.ask("stopped", max_tokens=50)
    crowd.cancel("stopped", turn=12)
    codes = {name: end.code for name, end in crowd.play().items()}
    assert codes == {"a": "internal", "stopped": "internal"}
    monkeypatch.undo()
    crowd.ask("c")
    assert isinstance(crowd.play()["c"], Finished)


def test_memory_that_ends_while_an_answer_is_put_away_ends_it_alone(crowd, monkeypatch, caplog):
    leave = Rows.leave

    def torn(self, name):
        leave(self, name)
        raise MemoryError("[malloc] Unable to allocate 8 bytes.")

    crowd.ask("a", max_tokens=5)
    crowd.ask("b", max_tokens=30)
    crowd.at(9, lambda: monkeypatch.setattr(Rows, "leave", torn))
    crowd.at(11, lambda: monkeypatch.setattr(Rows, "leave", leave))
    ends = crowd.play()
    assert ends["b"].reason is FinishReason.LENGTH
    assert crowd.loop._generation.idle
