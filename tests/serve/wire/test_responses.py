"""Answers to responses: every event and object is OpenAI's, and OpenAI's client reads them."""

import math

import openai
import pytest
from openai.types import responses as kinds
from openai.types.responses import Response
from pydantic import BaseModel

from engine.api.errors import BusyError, ContextError, InternalError, MediaError
from engine.api.events import Accepted, ChoiceEnd, Failed, Finished, FinishReason, Progress, Stage
from engine.serve import sse
from engine.serve.failures import ModelNotFound, Protocol, TooManyRequests, error_body
from engine.serve.wire.responses import repeated
from engine.serve.wire.responses_body import ResponsesBody
from engine.serve.wire.responses_writer import Manner, ResponsesWriter, manner_of
from tests.serve.wire.openai_client import FACTS, ID, USAGE, call, client_of, end, text, thought, token, whole

STOP, LENGTH, CALLS = FinishReason.STOP, FinishReason.LENGTH, FinishReason.TOOL_CALLS
CANCELLED = FinishReason.CANCELLED
QUESTION = {"model": "some/model", "input": "Hello"}
TYPES = {
    "response.created": kinds.ResponseCreatedEvent,
    "response.in_progress": kinds.ResponseInProgressEvent,
    "response.output_item.added": kinds.ResponseOutputItemAddedEvent,
    "response.output_item.done": kinds.ResponseOutputItemDoneEvent,
    "response.content_part.added": kinds.ResponseContentPartAddedEvent,
    "response.content_part.done": kinds.ResponseContentPartDoneEvent,
    "response.output_text.delta": kinds.ResponseTextDeltaEvent,
    "response.output_text.done": kinds.ResponseTextDoneEvent,
    "response.reasoning_text.delta": kinds.ResponseReasoningTextDeltaEvent,
    "response.reasoning_text.done": kinds.ResponseReasoningTextDoneEvent,
    "response.reasoning_summary_part.added": kinds.ResponseReasoningSummaryPartAddedEvent,
    "response.reasoning_summary_part.done": kinds.ResponseReasoningSummaryPartDoneEvent,
    "response.reasoning_summary_text.delta": kinds.ResponseReasoningSummaryTextDeltaEvent,
    "response.reasoning_summary_text.done": kinds.ResponseReasoningSummaryTextDoneEvent,
    "response.function_call_arguments.delta": kinds.ResponseFunctionCallArgumentsDeltaEvent,
    "response.function_call_arguments.done": kinds.ResponseFunctionCallArgumentsDoneEvent,
    "response.completed": kinds.ResponseCompletedEvent,
    "response.incomplete": kinds.ResponseIncompleteEvent,
    "response.failed": kinds.ResponseFailedEvent,
    "error": kinds.ResponseErrorEvent,
}
TOOL = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": True,
}
EVERYTHING = {
    "input": "Hello",
    "instructions": "Be kind.",
    "max_output_tokens": 5,
    "temperature": 0.5,
    "top_p": 0.5,
    "metadata": {"a": "b"},
    "tools": [TOOL],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "weather"}]},
    "parallel_tool_calls": False,
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"format": {"type": "json_schema", "name": "city", "schema": {"type": "object"}, "strict": True}},
    "truncation": "auto",
    "store": False,
    "top_logprobs": 2,
    "previous_response_id": "resp_1",
}
READ = Progress(ID, Stage.PREFILL, 9, 9)
HELLO = [READ, text("Hel"), text("lo"), end(STOP)]
CALLING = [
    text("One moment."),
    call(0, "weather", '{"city": "Bern"}', call_id="abc"),
    call(1, "time", "{}"),
    end(CALLS),
]
THINKING = [thought("Hm. "), thought("Yes."), text("Hello"), end(STOP)]
TOKENS = [
    text("Hel", token("Hel", -0.5, token("Hel", -0.5), token(b"\xe2", -math.inf))),
    text("", token("", -0.25)),
    text("lo", token("lo", -0.25)),
    text("", token("<end>", -0.1)),
    end(STOP),
]


def writer(manner=Manner(), **fields):  # noqa: B008 - it is frozen
    return ResponsesWriter(FACTS, repeated(ResponsesBody.model_validate(QUESTION | fields)), manner)


def frames_of(made, events):
    return [*made.opening(), *(frame for event in (Accepted(ID), *events) for frame in made.write(event))]


def objects(made, events):
    """What the frames hold, each of OpenAI's type, under its own name, numbered without a gap."""
    frames = frames_of(made, events)
    for number, frame in enumerate(frames):
        assert (frame.event, number) == (frame.data["type"], frame.data["sequence_number"])
        TYPES[frame.event].model_validate(frame.data)
    return [frame.data for frame in frames]


def streamed(made, events):
    return sse.KEEP_ALIVE.join(sse.encoded([frame]) for frame in frames_of(made, events))


def final(events, manner=Manner(), **options):  # noqa: B008 - it is frozen
    with client_of(streamed(writer(manner), events)).responses.stream(**QUESTION, **options) as stream:
        return stream.get_final_response()


@pytest.mark.parametrize(
    "events",
    [HELLO, CALLING, THINKING, TOKENS, [text("Hel"), end(LENGTH)], [text("Hel"), end(CANCELLED)], [end(STOP)]],
    ids=["text", "calls", "thinking", "log-probabilities", "cut", "cancelled", "nothing at all"],
)
@pytest.mark.parametrize("manner", [Manner(), Manner(True, True, True)], ids=["plain", "all"])
@pytest.mark.parametrize("fields", [{}, EVERYTHING], ids=["least", "most"])
def test_events_and_the_whole_are_openais(events, manner, fields):
    told = objects(writer(manner, **fields), events)
    one = whole(writer(manner, **fields), events)
    Response.model_validate(one)
    assert (one["id"], one["created_at"], one["model"]) == ("resp_5eed", 1_700_000_000, "some/model")
    assert told[-1]["response"] == one
    added = [event["item"]["id"] for event in told if event["type"] == "response.output_item.added"]
    done = [event["item"] for event in told if event["type"] == "response.output_item.done"]
    assert done == one["output"]
    assert added == [item["id"] for item in done]


def test_the_order_of_events():
    events = [thought("Hm. "), thought("Yes."), text("One moment."), call(0, "weather", "{}"), end(CALLS)]
    assert [event["type"].removeprefix("response.") for event in objects(writer(), events)] == [
        "created",
        "in_progress",
        *("output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.delta"),
        *("reasoning_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"),
        "completed",
    ]


def test_events_of_an_item_have_its_place():
    places = [
        event["output_index"] for event in objects(writer(), [thought("Hm."), *CALLING]) if "output_index" in event
    ]
    assert places == sorted(places)
    assert set(places) == {0, 1, 2, 3}


def test_a_client_puts_an_answer_together():
    response = final(HELLO)
    assert (response.output_text, response.status) == ("Hello", "completed")
    assert response.usage.input_tokens_details.cached_tokens == 5
    assert (response.usage.output_tokens_details.reasoning_tokens, response.usage.total_tokens) == (1, 13)
    one = client_of(whole(writer(), HELLO)).responses.create(**QUESTION)
    assert (one.output_text, one.status, one.usage) == ("Hello", "completed", response.usage)


def test_pieces_as_they_come():
    with client_of(streamed(writer(), HELLO)).responses.stream(**QUESTION) as stream:
        deltas = [(event.delta, event.snapshot) for event in stream if event.type == "response.output_text.delta"]
    assert deltas == [("Hel", "Hel"), ("lo", "Hello")]


def test_a_client_puts_calls_together():
    [said, weather, time] = final(CALLING, tools=[TOOL]).output
    assert said.content[0].text == "One moment."
    assert (weather.call_id, weather.name, weather.parsed_arguments) == ("abc", "weather", {"city": "Bern"})
    assert (time.name, time.arguments) == ("time", "{}")
    assert time.call_id


def test_only_the_first_call_where_one_was_asked_for():
    manner = manner_of(ResponsesBody.model_validate(EVERYTHING))
    calls = [item.name for item in final(CALLING, manner).output if item.type == "function_call"]
    assert calls == ["weather"]


def test_thinking_as_it_is():
    [mind, said] = final(THINKING).output
    assert (mind.content[0].text, mind.summary) == ("Hm. Yes.", [])
    assert said.content[0].text == "Hello"


def test_thinking_as_a_summary_where_one_was_asked_for():
    manner = manner_of(ResponsesBody.model_validate(EVERYTHING))
    with client_of(streamed(writer(manner), THINKING)).responses.stream(**QUESTION) as stream:
        deltas = [event.delta for event in stream if event.type == "response.reasoning_summary_text.delta"]
        [mind, _] = stream.get_final_response().output
    assert deltas == ["Hm. ", "Yes."]
    assert (mind.summary[0].text, mind.content) == ("Hm. Yes.", None)


def test_log_probabilities():
    [message] = final(TOKENS, Manner(logprobs=True)).output
    told = message.content[0].logprobs
    assert [(one.token, one.logprob, one.bytes) for one in told] == [
        ("Hel", -0.5, [72, 101, 108]),
        ("", -0.25, []),
        ("lo", -0.25, [108, 111]),
    ]
    assert [(one.token, one.logprob) for one in told[0].top_logprobs] == [("Hel", -0.5), ("\\xe2", -9999.0)]
    streamed_ones = [
        one["token"]
        for event in objects(writer(Manner(logprobs=True)), TOKENS)
        if event["type"] == "response.output_text.delta"
        for one in event["logprobs"]
    ]
    assert streamed_ones == ["Hel", "", "lo"]


def test_none_where_nobody_asked():
    [message] = final(TOKENS).output
    assert message.content[0].logprobs == []


@pytest.mark.parametrize(
    ("reason", "event", "status", "why"),
    [
        (STOP, "response.completed", "completed", None),
        (LENGTH, "response.incomplete", "incomplete", {"reason": "max_output_tokens"}),
        (CANCELLED, "response.incomplete", "cancelled", None),
    ],
)
def test_why_an_answer_ended(reason, event, status, why):
    events = [text("Hel"), Finished(ID, reason, USAGE, choices=(ChoiceEnd(reason, USAGE),))]
    last = objects(writer(), events)[-1]
    assert (last["type"], last["response"]["status"]) == (event, status)
    assert last["response"]["incomplete_details"] == why
    [item] = last["response"]["output"]
    assert item["status"] == ("completed" if reason is STOP else "incomplete")


class City(BaseModel):
    name: str


def test_a_form_is_parsed_with_pydantic():
    events = [text('{"name": '), text('"Bern"}'), end(STOP)]
    assert final(events, text_format=City).output_parsed == City(name="Bern")
    parsed = client_of(whole(writer(), events)).responses.parse(**QUESTION, text_format=City)
    assert parsed.output_parsed == City(name="Bern")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ContextError("Too long."), "invalid_prompt"),
        (MediaError("No picture."), "invalid_image"),
        (BusyError("Full."), "rate_limit_exceeded"),
        (InternalError("secret"), "server_error"),
    ],
)
def test_an_error_in_a_stream(error, code):
    failed = Failed.from_error(ID, error)
    told = objects(writer(), [text("Hel"), failed])
    assert [event["type"] for event in told[-2:]] == ["error", "response.failed"]
    response = told[-1]["response"]
    assert (response["status"], response["error"]["code"]) == ("failed", code)
    assert response["output"][0]["content"][0]["text"] == "Hel"
    assert response["error"]["message"] == told[-2]["message"]
    assert "secret" not in response["error"]["message"]
    with client_of(streamed(writer(), [text("Hel"), failed])).responses.stream(**QUESTION) as stream:
        assert [event.type for event in stream][-2:] == ["error", "response.failed"]


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ModelNotFound("None."), 404, openai.NotFoundError),
        (TooManyRequests("Many."), 429, openai.RateLimitError),
        (ContextError("Long."), 400, openai.BadRequestError),
    ],
)
def test_errors_are_of_the_types_of_the_client(error, status, kind):
    with pytest.raises(kind):
        client_of(error_body(Protocol.OPENAI, error), status).responses.create(**QUESTION)


def test_a_response_says_again_what_was_asked():
    one = whole(writer(**EVERYTHING), HELLO)
    for name in ("instructions", "max_output_tokens", "temperature", "top_p", "metadata", "tool_choice", "store"):
        assert one[name] == EVERYTHING[name]
    assert one["tools"] == [{"description": None, **TOOL, "strict": False}]
    assert (one["text"]["format"]["name"], one["text"]["format"]["strict"]) == ("city", True)
    assert one["reasoning"] == {"effort": "low", "summary": "auto"}
    # What is not done is not said to be.
    assert one["truncation"] == "disabled"


def test_a_response_in_progress_is_whole_too():
    Response.model_validate(writer().whole())
    assert writer().whole()["status"] == "in_progress"
