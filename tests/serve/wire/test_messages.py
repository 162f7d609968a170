"""Answers to messages: every event and object is Anthropic's, and Anthropic's client reads them."""

import anthropic
import pytest
from anthropic.types import Message
from pydantic import BaseModel

from engine.api.errors import BusyError, ContextError, EngineError
from engine.api.events import ChoiceEnd, Failed, Finished, FinishReason, Progress, Stage, Usage
from engine.serve.failures import ModelNotFound, Protocol, TooManyRequests, error_body
from engine.serve.wire.messages_writer import Manner, MessagesWriter, Shown
from tests.serve.wire.anthropic_client import client_of, frames_of, objects, streamed
from tests.serve.wire.openai_client import FACTS, ID, USAGE, call, end, text, thought, whole

STOP, LENGTH, CALLS = FinishReason.STOP, FinishReason.LENGTH, FinishReason.TOOL_CALLS
QUESTION = {"model": "some/model", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}
READ = Progress(ID, Stage.PREFILL, 4, 9)
THINKS = Manner(Shown.WHOLE, max_tokens=4)
HELLO = [READ, text("Hel"), text("lo"), end(STOP)]
CALLING = [
    READ,
    text("One moment."),
    call(0, "weather", '{"city": "Bern"}', call_id="abc"),
    call(1, "time", "{}"),
    text("There."),
    end(CALLS),
]
THINKING = [READ, thought("Hm. "), thought("Yes."), text("Hello"), end(STOP)]


def writer(manner=THINKS):
    return MessagesWriter(FACTS, manner)


def shape(events):
    """The kinds of events, with those of blocks and deltas."""
    inner = [event.get("content_block") or event.get("delta") or {} for event in events]
    return [(event["type"], told.get("type")) for event, told in zip(events, inner, strict=True)]


def final(events, manner=THINKS, **options):
    with client_of(streamed(writer(manner), events)).messages.stream(**QUESTION, **options) as stream:
        return stream.get_final_message()


@pytest.mark.parametrize("events", [HELLO, CALLING, THINKING, [READ, end(LENGTH)], [end(STOP)]])
@pytest.mark.parametrize("shown", Shown)
def test_events_and_the_whole_are_anthropics_and_tell_the_same(events, shown):
    manner = Manner(shown, max_tokens=4)
    objects(writer(manner), events)
    one = whole(writer(manner), events)
    Message.model_validate(one)
    assert (one["id"], one["model"]) == ("msg_5eed", "some/model")
    client = client_of(one)
    one_piece = client.messages.create(**QUESTION)
    assert final(events, manner).to_dict(exclude_none=True) == one_piece.to_dict(exclude_none=True)


def test_the_order_of_events():
    assert shape(objects(writer(), CALLING)) == [
        ("message_start", None),
        ("content_block_start", "text"),
        ("content_block_delta", "text_delta"),
        ("content_block_stop", None),
        ("content_block_start", "tool_use"),
        ("content_block_delta", "input_json_delta"),
        ("content_block_stop", None),
        ("content_block_start", "tool_use"),
        ("content_block_delta", "input_json_delta"),
        ("content_block_stop", None),
        ("content_block_start", "text"),
        ("content_block_delta", "text_delta"),
        ("content_block_stop", None),
        ("message_delta", None),
        ("message_stop", None),
    ]


def test_blocks_are_numbered_in_their_order():
    events = objects(writer(), CALLING)
    assert [event["index"] for event in events if event["type"] == "content_block_start"] == [0, 1, 2, 3]
    assert [event["index"] for event in events if event["type"] == "content_block_stop"] == [0, 1, 2, 3]


def test_a_client_puts_calls_together():
    message = final(CALLING)
    [said, weather, time, more] = message.content
    assert (said.text, more.text) == ("One moment.", "There.")
    assert (weather.id, weather.name, weather.input) == ("abc", "weather", {"city": "Bern"})
    assert (time.name, time.input) == ("time", {})
    assert time.id
    assert message.stop_reason == "tool_use"


def test_only_the_first_call_where_one_was_asked_for():
    blocks = final(CALLING, Manner(one_call=True)).content
    assert [block.name for block in blocks if block.type == "tool_use"] == ["weather"]


def test_thinking_comes_with_a_signature():
    assert shape(objects(writer(), THINKING))[1:6] == [
        ("content_block_start", "thinking"),
        ("content_block_delta", "thinking_delta"),
        ("content_block_delta", "thinking_delta"),
        ("content_block_delta", "signature_delta"),
        ("content_block_stop", None),
    ]
    [mind, said] = final(THINKING).content
    assert (mind.thinking, said.text) == ("Hm. Yes.", "Hello")
    assert mind.signature


def test_thinking_that_is_left_out_leaves_its_place():
    [mind, said] = final(THINKING, Manner(Shown.EMPTY)).content
    assert (mind.thinking, bool(mind.signature), said.text) == ("", True, "Hello")


def test_thinking_that_nobody_asked_for_is_not_told():
    [said] = final(THINKING, Manner()).content
    assert said.text == "Hello"


def test_text_as_it_comes():
    with client_of(streamed(writer(), HELLO)).messages.stream(**QUESTION) as stream:
        assert list(stream.text_stream) == ["Hel", "lo"]


@pytest.mark.parametrize(
    ("ending", "reason", "sequence"),
    [
        (end(STOP), "end_turn", None),
        (Finished(ID, STOP, USAGE, choices=(ChoiceEnd(STOP, USAGE, stop="###"),)), "stop_sequence", "###"),
        (end(CALLS), "tool_use", None),
        (end(LENGTH), "max_tokens", None),
    ],
)
def test_why_an_answer_ended(ending, reason, sequence):
    message = final([READ, text("Hello"), ending])
    assert (message.stop_reason, message.stop_sequence) == (reason, sequence)
    assert message.usage.output_tokens == 4


def test_the_end_of_the_context_is_not_the_end_of_what_was_allowed():
    assert final([end(LENGTH)], Manner(max_tokens=5)).stop_reason == "model_context_window_exceeded"


def test_what_was_found_computed_is_told_apart():
    events = objects(writer(), HELLO)
    assert events[0]["message"]["usage"]["input_tokens"] == 9
    usage = final(HELLO).usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (4, 5, 4)
    assert (usage.cache_creation_input_tokens, usage.output_tokens_details.thinking_tokens) == (0, 1)


def test_the_message_begins_where_the_prompt_is_known():
    begun = writer()
    assert begun.opening() == []
    assert begun.ping() is None
    assert begun.write(Progress(ID, Stage.LOOKING, 1, 2)) == []
    [start] = begun.write(READ)
    assert start.event == "message_start"
    assert begun.write(Progress(ID, Stage.PREFILL, 9, 9)) == []
    assert begun.ping().data == {"type": "ping"}


class City(BaseModel):
    name: str


def test_a_form_is_parsed_with_pydantic():
    events = [READ, text('{"name": '), text('"Bern"}'), end(STOP)]
    with client_of(streamed(writer(), events)).messages.stream(**QUESTION, output_format=City) as stream:
        assert stream.get_final_message().parsed_output == City(name="Bern")
    parsed = client_of(whole(writer(), events)).messages.parse(**QUESTION, output_format=City)
    assert parsed.parsed_output == City(name="Bern")


def test_an_error_in_a_stream_is_raised_by_the_client():
    failed = Failed.from_error(ID, ContextError("The prompt is too long.", "Shorten it."))
    frames = frames_of(writer(), [READ, text("Hel"), failed])
    assert (frames[-1].event, frames[-1].data["error"]["type"]) == ("error", "invalid_request_error")
    with (
        pytest.raises(anthropic.APIStatusError, match="too long"),
        client_of(streamed(writer(), [READ, text("Hel"), failed])).messages.stream(**QUESTION) as stream,
    ):
        stream.get_final_message()


def test_an_answer_that_was_stopped_is_an_error_and_no_end():
    events = [READ, text("Hel"), end(FinishReason.CANCELLED)]
    kinds = [frame.event for frame in frames_of(writer(), events)]
    assert kinds[-2:] == ["content_block_stop", "error"]
    assert "message_stop" not in kinds
    with pytest.raises(EngineError, match="stopped"):
        whole(writer(), events)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ModelNotFound("None."), 404, anthropic.NotFoundError),
        (TooManyRequests("Many."), 429, anthropic.RateLimitError),
        (ContextError("Long."), 400, anthropic.BadRequestError),
        (BusyError("Full."), 503, anthropic.InternalServerError),
    ],
)
def test_errors_are_of_the_types_of_the_client(error, status, kind):
    with pytest.raises(kind) as caught:
        client_of(error_body(Protocol.ANTHROPIC, error), status).messages.create(**QUESTION)
    assert caught.value.type == caught.value.body["error"]["type"]


def test_no_counts_where_nothing_was_counted():
    usage = whole(writer(), [end(STOP, usage=Usage())])["usage"]
    assert usage["input_tokens"] == usage["output_tokens"] == 0
