"""Several answers from one prompt: each is what it would be alone, and they end as one request."""

import re

import pytest

from engine.api.errors import RequestError
from engine.api.events import Accepted, Finished, FinishReason, Progress, Stage, TextDelta, ThinkingDelta
from engine.api.request import GenerateRequest, LoadModel, Message, Role, Text
from engine.api.response_format import Regex
from engine.api.settings import CacheSettings, EngineSettings, SamplingSettings
from engine.host import EngineHost
from tests.recording import ask

WARM = SamplingSettings(temperature=1.0, seed=20)


@pytest.fixture(scope="module", params=[8, 2])
def client(request, tiny_llama):
    """With room for all the answers at once, and without."""
    with EngineHost(EngineSettings(max_running=request.param)) as host:
        assert isinstance(ask(host.client, LoadModel(str(tiny_llama))).end(), Finished)
        yield host.client


def question(text="Hello there", **options):
    options = {"max_tokens": 25, "sampling": WARM} | options
    return GenerateRequest((Message(Role.USER, (Text(text),)),), **options)


def seeded(seed, **options):
    return question(sampling=SamplingSettings(temperature=1.0, seed=seed), **options)


def texts(recorder, n):
    return [
        "".join(event.text for event in recorder.events if isinstance(event, TextDelta) and event.choice == number)
        for number in range(n)
    ]


def tokens(recorder, number):
    deltas = [event for event in recorder.events if isinstance(event, TextDelta | ThinkingDelta)]
    return [token.token_id for delta in deltas if delta.choice == number for token in delta.tokens]


def test_each_is_drawn_by_a_seed_of_its_own_from_one_reading_of_the_prompt(client):
    recorder = ask(client, question(n=4))
    end = recorder.end()
    assert len(set(texts(recorder, 4))) == 4
    read = [event for event in recorder.events if isinstance(event, Progress) and event.stage is Stage.PREFILL]
    assert [event.done for event in read].count(read[-1].total) == 1
    for number in range(4):
        alone = ask(client, seeded(20 + number))
        assert alone.end().reason is end.choices[number].reason
        assert tokens(recorder, number) == alone.token_ids
        assert texts(recorder, 4)[number] == alone.text


def test_it_is_one_request(client):
    recorder = ask(client, question(n=3))
    end = recorder.end()
    assert recorder.terminal == [recorder.events[-1]]
    assert [event for event in recorder.events if isinstance(event, Accepted)] == [recorder.events[0]]
    assert end.usage.prompt_tokens == end.choices[2].usage.prompt_tokens > 0
    assert end.usage.completion_tokens == sum(choice.usage.completion_tokens for choice in end.choices)
    assert [choice.usage.completion_tokens for choice in end.choices] == [len(tokens(recorder, n)) for n in range(3)]
    assert end.reason is end.choices[0].reason


def test_one_answer_is_one_choice(client):
    end = ask(client, question()).end()
    (choice,) = end.choices
    assert (choice.reason, choice.usage) == (end.reason, end.usage)


def test_without_a_seed_they_differ(client):
    recorder = ask(client, question(n=3, sampling=SamplingSettings(temperature=1.0)))
    recorder.end()
    assert len(set(texts(recorder, 3))) == 3


def test_the_last_seed_is_followed_by_the_first(client):
    recorder = ask(client, seeded(2**64 - 1, n=2))
    recorder.end()
    first = ask(client, seeded(0))
    first.end()
    assert tokens(recorder, 1) == first.token_ids


def test_each_is_held_to_the_form(client):
    recorder = ask(client, question(n=3, response_format=Regex("[a-d]{5}x+y"), max_tokens=400))
    assert [choice.reason for choice in recorder.end().choices] == [FinishReason.STOP] * 3
    found = texts(recorder, 3)
    assert all(re.fullmatch("[a-d]{5}x+y", text) for text in found)
    assert len(set(found)) > 1


def test_some_end_before_others(client):
    recorder = ask(client, question(n=4, max_tokens=60, stop=("e", "a", "t", "I")))
    end = recorder.end()
    lengths = [choice.usage.completion_tokens for choice in end.choices]
    assert len(set(lengths)) > 1
    for number, choice in enumerate(end.choices):
        alone = ask(client, seeded(20 + number, max_tokens=60, stop=("e", "a", "t", "I")))
        assert alone.end().reason is choice.reason
        assert alone.token_ids == tokens(recorder, number)


def test_a_cancel_ends_all(client):
    recorder = ask(client, question(n=4, max_tokens=450))
    recorder.began()
    client.cancel(recorder.request_id)
    end = recorder.end()
    assert end.reason is FinishReason.CANCELLED
    assert FinishReason.CANCELLED in {choice.reason for choice in end.choices}
    assert [choice.usage.completion_tokens for choice in end.choices] == [len(tokens(recorder, n)) for n in range(4)]
    assert isinstance(ask(client, question()).end(), Finished)


def test_others_decode_beside_them(client):
    several, one = ask(client, question(n=2, max_tokens=60)), ask(client, question("Others", max_tokens=40))
    ends = several.end(), one.end()
    assert all(isinstance(end, Finished) for end in ends)
    alone = ask(client, question("Others", max_tokens=40))
    alone.end()
    assert one.token_ids == alone.token_ids


def test_a_mistake_in_one_ends_the_request_and_nothing_else(client):
    other = ask(client, question("Others", max_tokens=40))
    failed = ask(client, question(n=3, sampling=SamplingSettings(logit_bias=((100_000, 1.0),)))).end()
    assert failed.code == "bad_request"
    assert isinstance(other.end(), Finished)


def test_memory_is_counted_for_each(tiny_llama):
    settings = EngineSettings(cache=CacheSettings(max_kv_bytes=40_000))
    with EngineHost(settings) as host:
        assert isinstance(ask(host.client, LoadModel(str(tiny_llama))).end(), Finished)
        assert isinstance(ask(host.client, question(max_tokens=40)).end(), Finished)
        assert ask(host.client, question(max_tokens=40, n=4)).end().code == "not_enough_memory"


@pytest.mark.parametrize("n", [0, -1, 17])
def test_how_many_is_checked(n):
    with pytest.raises(RequestError, match="between 1 and 16"):
        question(n=n)
