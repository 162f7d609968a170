"""Answers to chats: every chunk and object is OpenAI's, and OpenAI's client reads them."""

import math

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from engine.api.errors import ContextError, EngineError
from engine.api.events import Failed, Finished, FinishReason, Progress, Stage
from engine.serve.failures import Protocol, error_body
from engine.serve.wire.chat import ChatWriter
from tests.serve.wire.openai_client import (
    FACTS,
    ID,
    USAGE,
    call,
    client_of,
    end,
    objects,
    streamed,
    text,
    thought,
    token,
    whole,
)

STOP, LENGTH, CALLS = FinishReason.STOP, FinishReason.LENGTH, FinishReason.TOOL_CALLS
QUESTION = {"model": "some/model", "messages": [{"role": "user", "content": "Hello"}]}


def ask(content, **options):
    return client_of(content).chat.completions.create(**QUESTION, **options)


def read(chunks):
    """The text of each answer, as a client puts it together."""
    texts = {}
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
    return texts


HELLO = [Progress(ID, Stage.PREFILL, 9, 9), text("Hel"), text("lo"), end(STOP)]
CALLING = [
    text("One moment."),
    call(0, "weather", '{"city": "Bern"}', call_id="abc"),
    call(1, "time", "{}"),
    end(CALLS),
]


@pytest.mark.parametrize(
    "events",
    [
        HELLO,
        CALLING,
        [thought("Hm. "), thought("Yes."), text("Hello"), end(LENGTH)],
        [text("a", choice=1), text("b"), text("c", choice=1), end(STOP, LENGTH)],
        [end(STOP)],
    ],
    ids=["text", "calls", "thinking", "two answers", "nothing at all"],
)
@pytest.mark.parametrize("usage", [False, True])
def test_every_chunk_and_the_whole_are_openais(events, usage):
    chunks = objects(ChatWriter(FACTS, tells_usage=usage), events)
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
        assert {chunk[name] for name in ("id", "object", "model", "created")} == {
            "chatcmpl-5eed",
            "chat.completion.chunk",
            "some/model",
            1_700_000_000,
        }
    one = whole(ChatWriter(FACTS), events)
    ChatCompletion.model_validate(one)
    assert (one["id"], one["object"]) == ("chatcmpl-5eed", "chat.completion")


def test_the_first_delta_has_a_role_and_the_last_is_empty():
    chunks = objects(ChatWriter(FACTS), HELLO)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas == [{"role": "assistant", "content": "Hel"}, {"content": "lo"}, {}]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "stop"]
    assert all("usage" not in chunk for chunk in chunks)


def test_an_answer_without_a_word_still_has_a_role():
    chunks = objects(ChatWriter(FACTS), [end(STOP)])
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [{"role": "assistant", "content": ""}, {}]


def test_usage_comes_last_without_choices_and_only_when_asked_for():
    *chunks, last = objects(ChatWriter(FACTS, tells_usage=True), HELLO)
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"] == {
        "prompt_tokens": 9,
        "completion_tokens": 4,
        "total_tokens": 13,
        "prompt_tokens_details": {"cached_tokens": 5, "image_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    *_, told = ask(
        streamed(ChatWriter(FACTS, tells_usage=True), HELLO), stream=True, stream_options={"include_usage": True}
    )
    assert told.usage.prompt_tokens_details.cached_tokens == USAGE.cached_tokens
    assert whole(ChatWriter(FACTS), HELLO)["usage"] == last["usage"]


def test_a_client_reads_a_stream_with_comments_in_it():
    chunks = list(ask(streamed(ChatWriter(FACTS), HELLO), stream=True))
    assert read(chunks) == {0: "Hello"}
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_client_reads_one_answer():
    answer = ask(whole(ChatWriter(FACTS), HELLO))
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Hello", "stop")
    assert answer.choices[0].message.tool_calls is None
    assert answer.choices[0].logprobs is None


def test_several_answers_keep_apart():
    events = [text("a", choice=1), text("b"), thought("?", choice=1), text("c", choice=1), end(STOP, LENGTH)]
    chunks = list(ask(streamed(ChatWriter(FACTS), events), stream=True, n=2))
    assert read(chunks) == {0: "b", 1: "ac"}
    roles = [choice.index for chunk in chunks for choice in chunk.choices if choice.delta.role]
    assert sorted(roles) == [0, 1]
    answer = ask(whole(ChatWriter(FACTS), events), n=2)
    assert [(choice.index, choice.message.content, choice.finish_reason) for choice in answer.choices] == [
        (0, "b", "stop"),
        (1, "ac", "length"),
    ]


def test_thinking_has_a_place_of_its_own():
    events = [thought("Hm. "), thought("Yes."), text("Hello"), end(STOP)]
    chunks = list(ask(streamed(ChatWriter(FACTS), events), stream=True))
    told = [chunk.choices[0].delta.model_extra.get("reasoning_content") for chunk in chunks]
    assert told == ["Hm. ", "Yes.", None, None]
    assert read(chunks) == {0: "Hello"}
    message = ask(whole(ChatWriter(FACTS), events)).choices[0].message
    assert (message.content, message.reasoning_content) == ("Hello", "Hm. Yes.")


def test_calls_of_tools():
    chunks = objects(ChatWriter(FACTS), CALLING)
    calls = [told for chunk in chunks for told in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert calls == [
        {
            "index": 0,
            "id": "abc",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city": "Bern"}'},
        },
        {"index": 1, "id": "call_5eed_0_1", "type": "function", "function": {"name": "time", "arguments": "{}"}},
    ]
    answer = ask(whole(ChatWriter(FACTS), CALLING))
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    assert message.content == "One moment."
    assert [(told.id, told.function.name) for told in message.tool_calls] == [
        ("abc", "weather"),
        ("call_5eed_0_1", "time"),
    ]


def test_a_client_puts_calls_together():
    client = client_of(streamed(ChatWriter(FACTS), CALLING))
    tool = {"type": "function", "function": {"name": "weather", "parameters": {}}}
    with client.chat.completions.stream(**QUESTION, tools=[tool]) as stream:
        message = stream.get_final_completion().choices[0].message
    assert [told.function.arguments for told in message.tool_calls] == ['{"city": "Bern"}', "{}"]


def test_a_call_alone_has_no_content():
    events = [call(0, "time", "{}"), end(CALLS)]
    message = whole(ChatWriter(FACTS), events)["choices"][0]["message"]
    assert message["content"] is None
    delta = objects(ChatWriter(FACTS), events)[0]["choices"][0]["delta"]
    assert delta["role"] == "assistant"


def test_one_call_at_a_time():
    chunks = objects(ChatWriter(FACTS, one_call=True), CALLING)
    calls = [told for chunk in chunks for told in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert [told["function"]["name"] for told in calls] == ["weather"]
    assert len(whole(ChatWriter(FACTS, one_call=True), CALLING)["choices"][0]["message"]["tool_calls"]) == 1


TOKENS = [
    text("He", token("He", -0.1, token("He", -0.1), token("Ho", -3.0))),
    text("llo ", token("llo", -0.2), token(b" \xf0\x9f", -math.inf)),
    text("🙂", token(b"\x99\x82", -0.4)),
    text("", token("<end>", -0.5)),
]


def told_tokens(chunks):
    return [told for chunk in chunks if (logprobs := chunk["choices"][0]["logprobs"]) for told in logprobs["content"]]


def test_logprobs_tell_of_every_token_but_the_end():
    events = [*TOKENS, end(STOP)]
    told = told_tokens(objects(ChatWriter(FACTS, logprobs=True), events))
    assert b"".join(bytes(each["bytes"]) for each in told).decode() == "Hello 🙂"
    assert told[0]["token"] == "He"
    assert [each["token"] for each in told[0]["top_logprobs"]] == ["He", "Ho"]
    assert [each["logprob"] for each in told] == [-0.1, -0.2, -9999.0, -0.4]
    assert told[2]["token"] == " \\xf0\\x9f"
    one = whole(ChatWriter(FACTS, logprobs=True), events)
    ChatCompletion.model_validate(one)
    assert one["choices"][0]["logprobs"]["content"] == told


def test_logprobs_come_with_their_text():
    chunks = objects(ChatWriter(FACTS, logprobs=True), [*TOKENS, end(STOP)])
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks] == ["He", "llo ", "🙂", None]
    assert [len(told_tokens([chunk])) for chunk in chunks] == [1, 2, 1, 0]


def test_logprobs_tell_of_the_last_token_where_it_is_no_end():
    told = told_tokens(objects(ChatWriter(FACTS, logprobs=True), [*TOKENS, end(LENGTH)]))
    assert told[-1]["token"] == "<end>"


def test_the_end_is_left_out_though_a_call_came_with_it():
    events = [text("So.", token("So", -1.0), token("<end>", -1.0)), call(0, "time", "{}"), end(CALLS)]
    chunks = objects(ChatWriter(FACTS, logprobs=True), events)
    assert [told["token"] for told in told_tokens(chunks)] == ["So"]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "tool_calls"]


def test_what_was_held_back_comes_before_a_failure():
    error = ContextError("Too long.", "Shorten it.")
    chunks = objects(ChatWriter(FACTS, logprobs=True), [text("He", token("He", -1.0)), Failed.from_error(ID, error)])
    assert chunks[0]["choices"][0]["delta"]["content"] == "He"
    assert "error" in chunks[1]


def test_nothing_of_tokens_unless_asked_for():
    chunks = objects(ChatWriter(FACTS), [*TOKENS, end(STOP)])
    assert all(chunk["choices"][0]["logprobs"] is None for chunk in chunks)
    assert len(chunks) == len(TOKENS)


def test_the_tokens_of_thinking_are_not_those_of_the_content():
    events = [thought("Hm", token("Hm", -1.0)), text("Yes", token("Yes", -2.0)), end(LENGTH)]
    told = told_tokens(objects(ChatWriter(FACTS, logprobs=True), events))
    assert [each["token"] for each in told] == ["Yes"]


class Weather(BaseModel):
    city: str
    degrees: float


def test_a_client_parses_an_answer_with_pydantic():
    events = [text('{"city": "Bern", '), text('"degrees": 3.5}'), end(STOP)]
    client = client_of(whole(ChatWriter(FACTS), events))
    parsed = client.chat.completions.parse(**QUESTION, response_format=Weather).choices[0].message.parsed
    assert parsed == Weather(city="Bern", degrees=3.5)
    client = client_of(streamed(ChatWriter(FACTS), events))
    with client.chat.completions.stream(**QUESTION, response_format=Weather) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == parsed


def test_a_client_says_that_an_answer_was_cut():
    client = client_of(whole(ChatWriter(FACTS), [text('{"city": "Be'), end(LENGTH)]))
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(**QUESTION, response_format=Weather)


def test_a_failure_in_mid_stream_is_an_error_object():
    failed = Failed.from_error(ID, ContextError("It has 900 tokens.", "Shorten it."))
    content = streamed(ChatWriter(FACTS), [text("Hel"), failed])
    chunks = ask(content, stream=True)
    assert next(chunks).choices[0].delta.content == "Hel"
    with pytest.raises(openai.APIError, match="900 tokens") as caught:
        next(chunks)
    assert caught.value.body == {
        "message": "It has 900 tokens. Shorten it.",
        "type": "invalid_request_error",
        "param": None,
        "code": "context_length_exceeded",
    }


def test_an_answer_that_others_stopped_is_no_answer():
    stopped = Finished(ID, FinishReason.CANCELLED, USAGE)
    with pytest.raises(openai.APIError) as caught:
        list(ask(streamed(ChatWriter(FACTS), [text("Hel"), stopped]), stream=True))
    assert caught.value.code == "cancelled"
    with pytest.raises(EngineError) as refused:
        whole(ChatWriter(FACTS), [text("Hel"), stopped])
    assert refused.value.code == "cancelled"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, openai.BadRequestError), (401, openai.AuthenticationError), (422, openai.UnprocessableEntityError)],
)
def test_a_client_reads_an_error_of_its_own(status, kind):
    client = client_of(error_body(Protocol.OPENAI, ContextError("Too long.")), status)
    with pytest.raises(kind, match="Too long") as caught:
        client.chat.completions.create(**QUESTION)
    assert caught.value.code == "context_length_exceeded"
