"""OpenAI's and Anthropic's own clients over a socket: nothing between them and the tiny model is made up.

Where a noise-making model cannot be brought to something (calling a tool), the engine answers from a script.
"""

import base64
import io
import json
import struct
import threading
from contextlib import contextmanager
from typing import Literal

import anthropic
import openai
import pytest
from PIL import Image
from pydantic import BaseModel

from engine.api.errors import EngineError
from engine.api.events import Finished, FinishReason, LocalModel, Progress, Stage, TextDelta, ToolCallDelta
from engine.api.request import GenerateRequest, ListModels, ToolResult
from engine.serve import answering
from tests.fake_engine import USAGE, WAIT, finish, speak, speak_until_cancelled
from tests.serve.live import real_engine, scripted, serving
from tests.serve.world import KEY, PATIENCE_S

HELLO = [{"role": "user", "content": "Hello"}]
LETTERS = {"guided_regex": "[a-z]{12}"}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


class Sight(BaseModel):
    colour: Literal["red", "green", "blue"]
    is_round: bool


@pytest.fixture(scope="module")
def live(tiny_smolvlm):
    with real_engine(tiny_smolvlm) as client, serving(client) as served:
        yield served


@pytest.fixture
def chat(live):
    """OpenAI's client; nothing may be left of what it asked."""
    with openai_of(live) as client:
        yield client
    live.nothing_left()


@pytest.fixture
def claude(live):
    with anthropic_of(live) as client:
        yield client
    live.nothing_left()


def openai_of(live, key=KEY):
    return openai.OpenAI(api_key=key, base_url=f"{live.base}/v1", max_retries=0, timeout=PATIENCE_S)


def anthropic_of(live, key=KEY):
    return anthropic.Anthropic(api_key=key, base_url=live.base, max_retries=0, timeout=PATIENCE_S)


@pytest.fixture
def model(live):
    return live.desk.board.model.name


@contextmanager
def both(scripts=None, **fields):
    """The two clients of a server whose engine answers from a script."""
    with scripted(scripts, **fields) as live, openai_of(live) as chat, anthropic_of(live) as claude:
        yield live, chat, claude


def picture(colour, size=(24, 20)):
    written = io.BytesIO()
    Image.new("RGB", size, colour).save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()


def look(colour):
    url = f"data:image/png;base64,{picture(colour)}"
    return [
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is it?"}],
        }
    ]


# ---- chat completions


def test_a_chat_whole_and_as_it_comes(chat, model):
    ask_for = {"model": model, "messages": HELLO, "seed": 3, "max_tokens": 24, "extra_body": LETTERS}
    whole = chat.chat.completions.create(**ask_for)
    assert len(whole.choices[0].message.content) == 12
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    chunks = list(chat.chat.completions.create(**ask_for, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1]) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_it_comes_in_pieces(chat, model):
    chunks = chat.chat.completions.create(model=model, messages=HELLO, stream=True, extra_body=LETTERS)
    assert sum(bool(chunk.choices[0].delta.content) for chunk in chunks) > 1


def test_the_client_s_own_stream_puts_the_same_together(chat, model):
    with chat.chat.completions.stream(model=model, messages=HELLO, extra_body=LETTERS) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    assert "".join(event.delta for event in events if event.type == "content.delta") == final.choices[0].message.content
    assert len(final.choices[0].message.content) == 12


def test_a_picture_is_looked_at(chat, model):
    def first_tokens(messages):
        answer = chat.chat.completions.create(
            model=model, messages=messages, max_tokens=1, temperature=0, logprobs=True, top_logprobs=5
        )
        return answer.usage, [token.logprob for token in answer.choices[0].logprobs.content[0].top_logprobs]

    usage, red = first_tokens(look("red"))
    _, blue = first_tokens(look("blue"))
    without, _ = first_tokens([{"role": "user", "content": "What is it?"}])
    assert red != blue
    assert usage.prompt_tokens > without.prompt_tokens
    assert usage.prompt_tokens_details.image_tokens > 0


def test_an_answer_is_parsed(chat, model):
    answer = chat.chat.completions.parse(model=model, messages=look("red"), response_format=Sight)
    assert isinstance(answer.choices[0].message.parsed, Sight)
    with chat.chat.completions.stream(model=model, messages=HELLO, response_format=Sight) as stream:
        assert isinstance(stream.get_final_completion().choices[0].message.parsed, Sight)


def test_logprobs_of_each_token(chat, model):
    ask_for = {"model": model, "messages": HELLO, "logprobs": True, "top_logprobs": 3, "extra_body": LETTERS, "seed": 1}
    told = chat.chat.completions.create(**ask_for).choices[0]
    assert b"".join(bytes(token.bytes) for token in told.logprobs.content).decode() == told.message.content
    assert all(token.logprob <= 0 and len(token.top_logprobs) == 3 for token in told.logprobs.content)
    streamed = [
        token
        for chunk in chat.chat.completions.create(**ask_for, stream=True)
        if chunk.choices[0].logprobs
        for token in chunk.choices[0].logprobs.content
    ]
    assert [token.token for token in streamed] == [token.token for token in told.logprobs.content]


def test_several_answers(chat, model):
    ask_for = {"model": model, "messages": HELLO, "n": 3, "temperature": 1, "extra_body": LETTERS}
    answer = chat.chat.completions.create(**ask_for)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) == 3
    texts, ends = ["", "", ""], []
    for chunk in chat.chat.completions.create(**ask_for, stream=True):
        [choice] = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        ends += [choice.index] if choice.finish_reason else []
    assert [len(text) for text in texts] == [12, 12, 12]
    assert sorted(ends) == [0, 1, 2]


def test_a_stop_string_ends_an_answer_and_is_no_part_of_it(chat, model):
    answer = chat.chat.completions.create(
        model=model, messages=HELLO, stop=["XY"], extra_body={"guided_regex": "[a-z]{5}XY[a-z]{5}"}
    )
    assert len(answer.choices[0].message.content) == 5
    assert answer.choices[0].finish_reason == "stop"


def test_max_tokens_end_an_answer(chat, model):
    answer = chat.chat.completions.create(model=model, messages=HELLO, max_tokens=4, extra_body=LETTERS)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 4


def test_a_seed_says_which_answer_it_is(chat, model):
    def answer(seed):
        made = chat.chat.completions.create(model=model, messages=HELLO, seed=seed, temperature=1, extra_body=LETTERS)
        return made.choices[0].message.content

    assert answer(11) == answer(11) != answer(12)


def test_tools_there_and_back():
    def call_then_answer(request_id, request):
        results = [part for message in request.prompt for part in message.parts if isinstance(part, ToolResult)]
        if results:
            yield TextDelta(request_id, f"It is {results[0].text}.")
            yield Finished(request_id, FinishReason.STOP, USAGE)
        else:
            yield ToolCallDelta(request_id, 0, "weather", '{"city": "Bern"}', "call_a")
            yield ToolCallDelta(request_id, 1, "weather", '{"city": "Thun"}', "call_b")
            yield Finished(request_id, FinishReason.TOOL_CALLS, USAGE)

    with both({GenerateRequest: call_then_answer}) as (live, chat, claude):
        for streamed in (False, True):
            messages = [*HELLO]
            if streamed:
                with chat.chat.completions.stream(model="starter", messages=messages, tools=[TOOL]) as stream:
                    asked = stream.get_final_completion().choices[0]
            else:
                asked = chat.chat.completions.create(model="starter", messages=messages, tools=[TOOL]).choices[0]
            assert asked.finish_reason == "tool_calls"
            calls = asked.message.tool_calls
            assert [json.loads(call.function.arguments)["city"] for call in calls] == ["Bern", "Thun"]
            messages.append(asked.message.to_dict(exclude_none=True))
            messages += [{"role": "tool", "tool_call_id": call.id, "content": "fair"} for call in calls]
            answer = chat.chat.completions.create(model="starter", messages=messages, tools=[TOOL])
            assert answer.choices[0].message.content == "It is fair."
        tool = {"name": "weather", "input_schema": TOOL["function"]["parameters"]}
        ask_for = {"model": "starter", "max_tokens": 50, "tools": [tool]}
        with claude.messages.stream(messages=HELLO, **ask_for) as stream:
            message = stream.get_final_message()
        assert message.stop_reason == "tool_use"
        assert [block.input["city"] for block in message.content] == ["Bern", "Thun"]
        results = [{"type": "tool_result", "tool_use_id": block.id, "content": "cold"} for block in message.content]
        turns = [*HELLO, {"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
        answer = claude.messages.create(messages=turns, **ask_for)
        assert answer.content[0].text == "It is cold."
        called = chat.responses.create(model="starter", input="Hello", tools=[{"type": "function", **TOOL["function"]}])
        output = [{"type": "function_call_output", "call_id": item.call_id, "output": "wet"} for item in called.output]
        followed = chat.responses.create(model="starter", input=output, previous_response_id=called.id)
        assert followed.output_text == "It is wet."
        live.nothing_left()


# ---- responses


def test_a_response_and_what_is_kept_of_it(chat, model):
    made = chat.responses.create(model=model, input="Hello", max_output_tokens=8, instructions="Be brief.")
    assert made.status in ("completed", "incomplete")
    assert chat.responses.retrieve(made.id).to_dict() == made.to_dict()
    [item] = chat.responses.input_items.list(made.id).data
    assert item.content[0].text == "Hello"
    more = chat.responses.create(model=model, input="More", max_output_tokens=8, previous_response_id=made.id)
    assert more.usage.input_tokens > made.usage.input_tokens
    assert len(chat.responses.input_items.list(more.id, order="asc").data) == 3
    with pytest.raises(openai.BadRequestError) as ended:
        chat.responses.cancel(made.id)
    assert ended.value.code == "response_ended"
    chat.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        chat.responses.retrieve(made.id)
    with pytest.raises(openai.NotFoundError):
        chat.responses.create(model=model, input="More", previous_response_id=made.id)
    unkept = chat.responses.create(model=model, input="Hello", max_output_tokens=1, store=False)
    with pytest.raises(openai.NotFoundError):
        chat.responses.retrieve(unkept.id)


def test_a_response_as_it_comes(chat, model):
    with chat.responses.stream(model=model, input="Hello", text_format=Sight) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert isinstance(final.output_parsed, Sight)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert (events[0].response.status, events[0].response.output) == ("in_progress", [])
    assert kinds[-1] == "response.completed"
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == final.output_text
    assert chat.responses.retrieve(final.id).output_text == text


def test_a_picture_in_a_response(chat, model):
    def tokens(content):
        made = chat.responses.create(
            model=model, input=[{"role": "user", "content": content}], max_output_tokens=1, store=False
        )
        return made.usage.input_tokens

    text = {"type": "input_text", "text": "What is it?"}
    shown = {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{picture('red')}"}
    assert tokens([shown, text]) > tokens([text])


def test_a_response_is_cancelled_by_its_id():
    with both({GenerateRequest: speak_until_cancelled("Hello")}) as (live, chat, _):
        with chat.responses.create(model="starter", input="Hello", stream=True) as stream:
            for event in stream:
                if event.type == "response.output_text.delta":
                    cancelled = chat.responses.cancel(event.item_id.replace("msg_", "resp_").rpartition("_")[0])
            assert event.type == "response.incomplete"
            assert event.response.status == cancelled.status == "cancelled"
        assert chat.responses.retrieve(cancelled.id).output_text == "Hello"
        live.nothing_left()


# ---- messages


def test_a_message_whole_and_as_it_comes(claude, model):
    ask_for = {"model": model, "max_tokens": 12, "messages": HELLO, "extra_body": {"temperature": 0}}
    whole = claude.messages.create(**ask_for)
    assert whole.stop_reason == "max_tokens"
    with claude.messages.stream(**ask_for) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[0].text == final.content[0].text
    assert final.usage.output_tokens == 12
    read = final.usage.input_tokens + final.usage.cache_read_input_tokens
    assert claude.messages.count_tokens(model=model, messages=HELLO).input_tokens == read


def test_a_picture_in_a_message_is_counted_and_looked_at(claude, model):
    source = {"type": "base64", "media_type": "image/png", "data": picture("red")}
    shown = [{"role": "user", "content": [{"type": "image", "source": source}, {"type": "text", "text": "Hello"}]}]
    counted = claude.messages.count_tokens(model=model, messages=shown).input_tokens
    assert counted > claude.messages.count_tokens(model=model, messages=HELLO).input_tokens
    usage = claude.messages.create(model=model, max_tokens=1, messages=shown).usage
    assert usage.input_tokens + usage.cache_read_input_tokens == counted


def test_a_message_is_held_to_a_form(claude, model):
    parsed = claude.messages.parse(model=model, max_tokens=200, messages=HELLO, output_format=Sight)
    assert isinstance(parsed.parsed_output, Sight)


@pytest.mark.parametrize("thinking", [{"type": "enabled", "budget_tokens": 1024}, {"type": "disabled"}])
def test_a_model_that_cannot_think_may_be_asked_to(claude, model, thinking):
    answer = claude.messages.create(model=model, max_tokens=2000, messages=HELLO, thinking=thinking)
    assert answer.stop_reason


# ---- the rest


def test_a_completion(chat, model):
    answer = chat.completions.create(model=model, prompt="Once", extra_body=LETTERS, max_tokens=20)
    assert len(answer.choices[0].text) == 12
    chunks = chat.completions.create(model=model, prompt="Once", extra_body=LETTERS, max_tokens=20, stream=True)
    assert len("".join(chunk.choices[0].text for chunk in chunks)) == 12
    for unknown in ({"suffix": "x"}, {"echo": True}):
        with pytest.raises(openai.BadRequestError):
            chat.completions.create(model=model, prompt="Once", **unknown)


def test_vectors_as_numbers_and_packed(tiny_llama):
    with real_engine(tiny_llama) as client, serving(client) as live, openai_of(live) as chat:
        name = live.desk.board.model.name
        # Left alone, the client asks for packed ones and unpacks them.
        usual = chat.embeddings.create(model=name, input=["One", "Two"])
        assert len(usual.data) == 2
        assert usual.usage.prompt_tokens > 0
        as_numbers = chat.embeddings.create(model=name, input=["One", "Two"], encoding_format="float")
        packed = chat.embeddings.create(model=name, input=["One", "Two"], encoding_format="base64")
        for one, other, text in zip(usual.data, as_numbers.data, packed.data, strict=True):
            raw = base64.b64decode(text.embedding)
            assert list(struct.unpack(f"<{len(raw) // 4}f", raw)) == pytest.approx(other.embedding)
            assert one.embedding == pytest.approx(other.embedding)
        assert usual.data[0].embedding != pytest.approx(usual.data[1].embedding)
        live.nothing_left()


def test_models_whose_ids_have_slashes():
    here = LocalModel("owner/some-model", "/nowhere/some-model", "llama", 1)
    with both({ListModels: finish(models=(here,))}) as (live, chat, claude):
        assert [listed.id for listed in chat.models.list()] == ["starter", here.source]
        assert chat.models.retrieve(here.source).id == here.source
        assert [listed.id for listed in claude.models.list()] == ["starter", here.source]
        assert chat.chat.completions.create(model=here.source, messages=HELLO).model == here.source
        with pytest.raises(openai.NotFoundError):
            chat.models.retrieve("owner/elsewhere")
        live.nothing_left()


# ---- errors, as each client raises them


def test_errors_of_openai_s_client(live, chat, model):
    def raised(kind, key=KEY, **fields):
        with openai_of(live, key) as client, pytest.raises(kind) as caught:
            client.chat.completions.create(**{"model": model, "messages": HELLO, **fields})
        assert caught.value.request_id
        assert caught.value.type
        return caught.value

    assert raised(openai.AuthenticationError, "not-the-key-of-these-tests").code == "invalid_api_key"
    assert raised(openai.NotFoundError, model="owner/elsewhere").code == "model_not_found"
    assert raised(openai.UnprocessableEntityError, temperature=99).param == "temperature"
    assert raised(openai.BadRequestError, extra_body={"adapter_path": "x"}).code == "unsupported_parameter"
    assert raised(openai.BadRequestError, messages=[{"role": "user", "content": "x" * 600}]).code == (
        "context_length_exceeded"
    )
    other_kind = raised(openai.APIStatusError, extra_headers={"content-type": "text/plain"})
    assert (other_kind.status_code, other_kind.code) == (415, "unsupported_media_type")
    assert raised(openai.NotFoundError, model="owner/elsewhere", stream=True).code == "model_not_found"


def test_errors_of_anthropic_s_client(live, claude, model):
    def raised(kind, key=KEY, **fields):
        with anthropic_of(live, key) as client, pytest.raises(kind) as caught:
            client.messages.create(**{"model": model, "messages": HELLO, "max_tokens": 5, **fields})
        assert caught.value.body["type"] == "error"
        assert caught.value.request_id
        return caught.value

    assert raised(anthropic.AuthenticationError, "not-the-key-of-these-tests").type == "authentication_error"
    assert raised(anthropic.NotFoundError, model="owner/elsewhere").type == "not_found_error"
    assert raised(anthropic.UnprocessableEntityError, extra_body={"temperature": 99}).type == "invalid_request_error"
    assert raised(anthropic.APIStatusError, extra_headers={"content-type": "text/plain"}).status_code == 415
    assert raised(anthropic.NotFoundError, model="owner/elsewhere", stream=True).type == "not_found_error"


def test_a_body_that_is_too_large_is_told_so(live):
    """Also to a client that has not sent all of it when it is refused."""
    with both(limits={"max_body_bytes": 100_000}) as (_, chat, claude):
        for size in (200_000, 30_000_000):
            long = [{"role": "user", "content": "x" * size}]
            with pytest.raises(openai.APIStatusError) as caught:
                chat.chat.completions.create(model="starter", messages=long)
            assert (caught.value.status_code, caught.value.code) == (413, "request_too_large")
            with pytest.raises(anthropic.RequestTooLargeError):
                claude.messages.create(model="starter", max_tokens=5, messages=long)


@pytest.mark.parametrize(("key", "status"), [(KEY, 413), ("not-the-key-of-these-tests", 401)])
def test_a_refusal_reaches_a_client_that_reads_only_once_it_has_sent_all(key, status):
    """As JavaScript's `fetch` and many others do. Closing the connection would reset it."""
    with scripted(limits={"max_body_bytes": 100_000}) as live:
        for _ in range(3):
            told, _, data = live.raw(
                "POST", "/v1/chat/completions", b"[" + b" " * 30_000_000 + b"]", authorization=f"Bearer {key}"
            )
            assert told == status
            assert json.loads(data)["error"]["code"] in ("request_too_large", "invalid_api_key")
        live.nothing_left()


def test_a_key_that_is_wrong_is_told_so_whatever_was_sent_with_it():
    with scripted() as live:
        long = [{"role": "user", "content": "x" * 30_000_000}]
        with openai_of(live, "not-the-key-of-these-tests") as chat, pytest.raises(openai.AuthenticationError):
            chat.chat.completions.create(model="starter", messages=long)


def test_too_much_at_once_says_when_to_come_back():
    scripts = {GenerateRequest: speak_until_cancelled("Hello")}
    with both(scripts, limits={"max_per_key": 1}) as (live, chat, claude):
        with chat.chat.completions.create(model="starter", messages=HELLO, stream=True) as stream:
            next(stream)
            with pytest.raises(openai.RateLimitError) as caught:
                chat.chat.completions.create(model="starter", messages=HELLO)
            assert int(caught.value.response.headers["retry-after"]) >= 1
            with pytest.raises(anthropic.RateLimitError) as caught:
                claude.messages.create(model="starter", max_tokens=5, messages=HELLO)
            assert int(caught.value.response.headers["retry-after"]) >= 1
        live.nothing_left()
    with both(scripts, limits={"max_running": 1, "max_queue": 0}) as (live, chat, claude):
        with chat.chat.completions.create(model="starter", messages=HELLO, stream=True) as stream:
            next(stream)
            with pytest.raises(openai.InternalServerError) as caught:
                chat.chat.completions.create(model="starter", messages=HELLO)
            assert (caught.value.status_code, caught.value.code) == (503, "queue_full")
            assert int(caught.value.response.headers["retry-after"]) >= 1
            with pytest.raises(anthropic.APIStatusError) as caught:
                claude.messages.create(model="starter", max_tokens=5, messages=HELLO)
            assert caught.value.type == "overloaded_error"
        live.nothing_left()


def test_an_error_in_mid_stream_is_raised():
    def break_off(request_id, request):
        yield TextDelta(request_id, "Half")
        raise EngineError("It came apart.", code="broken")

    with both({GenerateRequest: break_off}) as (live, chat, claude):
        stream = chat.chat.completions.create(model="starter", messages=HELLO, stream=True)
        with pytest.raises(openai.APIError, match="came apart"):
            list(stream)
        with pytest.raises(anthropic.APIStatusError, match="came apart"):  # noqa: SIM117
            with claude.messages.stream(model="starter", max_tokens=5, messages=HELLO) as events:
                list(events)
        live.nothing_left()


# ---- leaving early, and what goes over the wire


@pytest.mark.parametrize("leave", ["chat", "message", "response"])
def test_closing_a_stream_ends_the_answer_in_the_engine(leave):
    with both({GenerateRequest: speak_until_cancelled("Hello")}) as (live, chat, claude):
        ask_for = {"model": "starter", "stream": True}
        if leave == "chat":
            stream = chat.chat.completions.create(messages=HELLO, **ask_for)
        elif leave == "message":
            stream = claude.messages.create(messages=HELLO, max_tokens=5, **ask_for)
        else:
            stream = chat.responses.create(input="Hello", **ask_for)
        next(iter(stream))
        assert len(live.client.open) == 1
        stream.close()
        live.nothing_left()
        [[end]] = [live.client.ends[name] for name, r in live.client.submitted.items() if type(r) is GenerateRequest]
        assert end.reason is FinishReason.CANCELLED


def test_closing_a_stream_leaves_the_model_idle(live, chat, model):
    stream = chat.chat.completions.create(
        model=model, messages=HELLO, stream=True, extra_body={"guided_regex": "[a-z]{400}"}
    )
    next(stream)
    stream.close()
    live.nothing_left()
    answer = chat.chat.completions.create(model=model, messages=HELLO, extra_body=LETTERS)
    assert len(answer.choices[0].message.content) == 12


def test_the_bytes_of_a_stream(live, model):
    body = {"model": model, "messages": HELLO, "stream": True, **LETTERS}
    status, headers, data = live.raw("POST", "/v1/chat/completions", body)
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    *events, nothing = data.split(b"\n\n")
    assert nothing == b""
    assert events[-1] == b"data: [DONE]"
    for event in events[:-1]:
        assert event.startswith(b"data: {")
        assert json.loads(event.removeprefix(b"data: "))["object"] == "chat.completion.chunk"
    _, _, named = live.raw("POST", "/v1/messages", {**body, "max_tokens": 5})
    for event in named.strip().split(b"\n\n"):
        name, _, data = event.partition(b"\n")
        assert json.loads(data.removeprefix(b"data: "))["type"] == name.removeprefix(b"event: ").decode()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_a_silent_stream_says_that_it_is_alive(path):
    def read_for_ever(request_id, request):
        yield Progress(request_id, Stage.PREFILL, 1, 1000)
        while True:
            yield WAIT

    with scripted({GenerateRequest: read_for_ever}, limits={"keep_alive_s": 0.01}) as live:
        connection = live.connect()
        body = json.dumps({"messages": HELLO, "stream": True, "max_tokens": 5})
        connection.request("POST", path, body, {"authorization": f"Bearer {KEY}", "content-type": "application/json"})
        answer, data, sign = connection.getresponse(), b"", b": keep-alive\n\n"
        if path == "/v1/messages":
            sign = b'event: ping\ndata: {"type":"ping"}\n\n'
        while data.count(sign) < 3:
            data += answer.read1()
        answer.close()
        connection.close()
        live.nothing_left()


def test_clients_read_over_what_says_that_a_stream_is_alive(monkeypatch):
    told, gate = [], threading.Event()
    keep_alive = answering._Streamed.keep_alive

    async def counted(self, writer):
        await keep_alive(self, writer)
        told.append(writer)
        if len(told) == 3:
            gate.set()

    def read_long(request_id, request):
        yield Progress(request_id, Stage.PREFILL, 1, 2)
        assert gate.wait(PATIENCE_S)
        yield from speak("Hello", " world")(request_id, request)

    monkeypatch.setattr(answering._Streamed, "keep_alive", counted)
    with both({GenerateRequest: read_long}, limits={"keep_alive_s": 0.01}) as (live, chat, claude):
        chunks = list(chat.chat.completions.create(model="starter", messages=HELLO, stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello world"
        for ask in (
            lambda: claude.messages.stream(model="starter", max_tokens=5, messages=HELLO),
            lambda: chat.responses.stream(model="starter", input="Hello"),
        ):
            told.clear()
            gate.clear()
            with ask() as stream:
                for _ in stream:
                    pass
            assert len(told) >= 3
        live.nothing_left()
