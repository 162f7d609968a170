"""Bare texts that go on: bodies to requests, events to OpenAI's chunks and objects, which its client reads."""

import openai
import pytest
from openai.types import Completion
from pydantic import ValidationError

from engine.api.errors import ContextError, EngineError
from engine.api.events import Failed, Finished, FinishReason
from engine.api.request import Priority, RenderedPrompt
from engine.api.response_format import Regex
from engine.serve.failures import Refused
from engine.serve.wire.completions import CompletionsWriter
from engine.serve.wire.completions_body import CompletionsBody, completions_request
from tests.serve.wire.openai_client import (
    FACTS,
    ID,
    client_of,
    end,
    objects,
    streamed,
    text,
    thought,
    token,
    whole,
)

STOP, LENGTH = FinishReason.STOP, FinishReason.LENGTH
TOKENS = [
    text("He", token("He", -0.1, token("He", -0.1), token("Ho", -3.0))),
    text("llo", token("llo", -0.2, token("y", -0.1))),
    text("", token("<end>", -0.5)),
]


def request(**fields):
    return completions_request(CompletionsBody.model_validate({"prompt": "Once", **fields}), tenant="salt")


def ask(content, **options):
    return client_of(content).completions.create(model="some/model", prompt="Once", **options)


def test_a_text_is_not_put_through_a_template():
    asked = request(n=2, stop="END", temperature=0, guided_regex="a+")
    assert asked.prompt == RenderedPrompt("Once")
    assert (asked.n, asked.stop, asked.sampling.temperature, asked.response_format) == (2, ("END",), 0, Regex("a+"))
    assert (asked.priority, asked.tenant) == (Priority.API, "salt")
    assert (asked.logprobs, asked.top_logprobs) == (False, 0)


def test_sixteen_tokens_as_openai_has_it():
    assert request().max_tokens == 16
    assert request(max_tokens=5).max_tokens == 5


@pytest.mark.parametrize("number", [0, 3])
def test_logprobs_are_a_number(number):
    asked = request(logprobs=number)
    assert (asked.logprobs, asked.top_logprobs) == (True, number)
    with pytest.raises(ValidationError):
        request(logprobs=True)


def test_one_text_in_a_list_is_one_text():
    assert request(prompt=["Once"]) == request()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"suffix": "the end"}, "suffix"),
        ({"echo": True}, "echo"),
        ({"best_of": 3}, "best_of"),
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"prompt": ["One", "Two"]}, "several"),
        ({"prompt": []}, "several"),
        ({"prompt": [1, 2, 3]}, "tokens"),
        ({"prompt": [[1, 2], [3]]}, "tokens"),
        ({"prompt": ""}, "empty"),
        ({"adapter_path": "/a"}, "adapter_path"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(fields, told):
    with pytest.raises(Refused, match=told) as caught:
        request(**fields)
    assert caught.value.status == 400


def test_what_asks_for_nothing_more_is_let_be():
    assert request(suffix="", echo=False, best_of=2, n=2, user="me") == request(n=2)


HELLO = [text("Hel"), text("lo"), end(STOP)]
BOTH = [text("a", choice=1), text("b"), text("c", choice=1), end(STOP, LENGTH)]


@pytest.mark.parametrize("events", [HELLO, BOTH, [*TOKENS, end(STOP)], [end(LENGTH)]])
@pytest.mark.parametrize("logprobs", [None, 0, 2])
def test_every_chunk_and_the_whole_are_openais(events, logprobs):
    chunks = objects(CompletionsWriter(FACTS, logprobs=logprobs, tells_usage=True), events)
    for chunk in chunks:
        for choice in chunk["choices"]:
            # The client's own types leave out that it is null until the end.
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        Completion.model_validate(chunk)
        assert (chunk["id"], chunk["object"]) == ("cmpl-5eed", "text_completion")
    Completion.model_validate(whole(CompletionsWriter(FACTS, logprobs=logprobs), events))


def test_the_reason_stands_in_the_last_chunk_alone():
    chunks = objects(CompletionsWriter(FACTS), HELLO)
    assert [(chunk["choices"][0]["text"], chunk["choices"][0]["finish_reason"]) for chunk in chunks] == [
        ("Hel", None),
        ("lo", None),
        ("", "stop"),
    ]
    assert all("usage" not in chunk for chunk in chunks)


def test_usage_comes_last_without_choices_and_only_when_asked_for():
    *chunks, last = objects(CompletionsWriter(FACTS, tells_usage=True), HELLO)
    assert all(chunk["usage"] is None for chunk in chunks)
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 13)


def test_a_client_reads_a_stream():
    chunks = list(ask(streamed(CompletionsWriter(FACTS), BOTH), stream=True, n=2))
    texts = {
        number: "".join(c.text for chunk in chunks for c in chunk.choices if c.index == number) for number in (0, 1)
    }
    assert texts == {0: "b", 1: "ac"}


def test_a_client_reads_one_object():
    answer = ask(whole(CompletionsWriter(FACTS), BOTH), n=2)
    assert [(choice.index, choice.text, choice.finish_reason) for choice in answer.choices] == [
        (0, "b", "stop"),
        (1, "ac", "length"),
    ]
    assert answer.usage.total_tokens == 13


def test_what_a_model_thinks_is_part_of_the_text():
    assert whole(CompletionsWriter(FACTS), [thought("Hm. "), text("Yes"), end(STOP)])["choices"][0]["text"] == "Hm. Yes"


def test_logprobs_stand_side_by_side_without_the_end():
    told = whole(CompletionsWriter(FACTS, logprobs=2), [*TOKENS, end(STOP)])["choices"][0]["logprobs"]
    assert told == {
        "tokens": ["He", "llo"],
        "token_logprobs": [-0.1, -0.2],
        "top_logprobs": [{"He": -0.1, "Ho": -3.0}, {"y": -0.1, "llo": -0.2}],
        "text_offset": [0, 2],
    }
    chunks = objects(CompletionsWriter(FACTS, logprobs=2), [*TOKENS, end(STOP)])
    streams = [logprobs for chunk in chunks if (logprobs := chunk["choices"][0]["logprobs"])]
    for name, values in told.items():
        assert [value for each in streams for value in each[name]] == values


def test_logprobs_without_others():
    told = whole(CompletionsWriter(FACTS, logprobs=0), [*TOKENS, end(STOP)])["choices"][0]["logprobs"]
    assert told["top_logprobs"] is None
    assert told["tokens"] == ["He", "llo"]


def test_a_failure_in_mid_stream_is_an_error_object():
    failed = Failed.from_error(ID, ContextError("Too long."))
    chunks = ask(streamed(CompletionsWriter(FACTS), [text("Hel"), failed]), stream=True)
    assert next(chunks).choices[0].text == "Hel"
    with pytest.raises(openai.APIError, match="Too long"):
        next(chunks)


def test_an_answer_that_others_stopped_is_no_answer():
    stopped = [text("Hel"), Finished(ID, FinishReason.CANCELLED)]
    assert objects(CompletionsWriter(FACTS), stopped)[-1]["error"]["code"] == "cancelled"
    with pytest.raises(EngineError, match="stopped"):
        whole(CompletionsWriter(FACTS), stopped)
