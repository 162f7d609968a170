"""Anthropic's routes in process: its client asks, an engine that answers from a script is asked."""

import asyncio
from dataclasses import replace

import anthropic
import pytest
from pydantic import BaseModel

from engine.api.errors import ContextError
from engine.api.events import Finished, FinishReason, Progress, Stage, TextDelta, ThinkingDelta, ToolCallDelta, Usage
from engine.api.model_facts import Capabilities
from engine.api.request import CountTokens, GenerateRequest, Image, Message, Role, Text
from engine.serve.media.policy import MediaPolicy
from engine.serve.settings import MediaRules
from tests.fake_engine import INFO, USAGE, fail, speak
from tests.serve.world import ADDRESS, KEY, events_of, open_world

QUESTION = {"model": "claude-sonnet-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}
TOOL = {"name": "time", "input_schema": {"type": "object", "properties": {}}}
DOT = "R0lGODlhAQABAAAAACw="
CACHED = {"cache_control": {"type": "ephemeral"}}
# As Claude Code asks: on the beta route, with more fields and headers than anybody documents.
LIKE_CLAUDE_CODE = {
    "max_tokens": 32_000,
    "system": [
        {"type": "text", "text": "You are Claude Code.", **CACHED},
        {"type": "text", "text": "Working directory: /tmp", **CACHED},
    ],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<system-reminder>Be brief.</system-reminder>"},
                {"type": "text", "text": "What time is it?", **CACHED},
            ],
        }
    ],
    "tools": [{**TOOL, "description": "Tells the time.", **CACHED, "eager_input_streaming": True}],
    "metadata": {"user_id": "user_x_account__session_y"},
    "thinking": {"type": "enabled", "budget_tokens": 31_999},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "extra_body": {"temperature": 1},
    "betas": ["claude-code-20250219", "interleaved-thinking-2025-05-14"],
}


class City(BaseModel):
    name: str


def think_and_call(request_id, request):
    yield Progress(request_id, Stage.PREFILL, 7, 7)
    yield ThinkingDelta(request_id, "Hm.")
    yield TextDelta(request_id, "One moment.")
    yield ToolCallDelta(request_id, 0, "time", "{}", "abc")
    yield ToolCallDelta(request_id, 1, "time", "{}", "def")
    yield Finished(request_id, FinishReason.TOOL_CALLS, USAGE)


def count(request_id, request):
    yield Finished(request_id, FinishReason.DONE, Usage(prompt_tokens=3), token_ids=(5, 6, 7))


def with_client(use, scripts=None, **options):
    """Runs `use(world, client)`, and sees that nothing of it is left."""

    async def main():
        async with open_world({CountTokens: count} | (scripts or {}), **options) as world:
            client = anthropic.AsyncAnthropic(api_key=KEY, base_url=ADDRESS, http_client=world.http, max_retries=0)
            await use(world, client)
            await world.nothing_left()

    asyncio.run(main())


def asked_of(world, kind=GenerateRequest):
    return [request for request in world.engine.requests if isinstance(request, kind)]


def test_a_message_in_one_piece():
    async def use(world, client):
        message = await client.messages.create(**QUESTION)
        assert (message.content[0].text, message.stop_reason) == ("Hello world", "end_turn")
        # What a client called the model is what it reads.
        assert (message.model, message.usage.input_tokens) == ("claude-sonnet-5", USAGE.prompt_tokens)
        [asked] = asked_of(world)
        assert asked.prompt == (Message(Role.USER, (Text("Hello"),)),)
        assert (asked.model, asked.max_tokens) == (INFO.source, 100)
        assert dict(asked.template_options)["enable_thinking"] is False

    with_client(use)


def test_a_message_as_it_comes():
    async def use(world, client):
        async with client.messages.stream(**QUESTION) as stream:
            assert "".join([text async for text in stream.text_stream]) == "Hello world"
            assert (await stream.get_final_message()).usage.output_tokens == USAGE.completion_tokens

    with_client(use)


@pytest.mark.parametrize("thinks", [True, False])
def test_what_claude_code_sends(thinks):
    async def use(world, client):
        async with client.beta.messages.stream(model="claude-opus-4-8", **LIKE_CLAUDE_CODE) as stream:
            message = await stream.get_final_message()
        assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
        assert message.stop_reason == "tool_use"
        [asked] = asked_of(world)
        assert asked.prompt[0].text == "You are Claude Code.\n\nWorking directory: /tmp"
        assert asked.prompt[1].text == "<system-reminder>Be brief.</system-reminder>\nWhat time is it?"
        assert asked.sampling.temperature == 1
        # A model that does not think has nothing to be limited, and is asked all the same.
        assert asked.thinking_budget == (31_999 if thinks else None)
        assert [tool.name for tool in asked.tools] == ["time"]
        # And the next turn, with all of it sent back.
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": "Noon."}
            for block in message.content
            if block.type == "tool_use"
        ]
        more = [
            {"role": "assistant", "content": [block.to_dict() for block in message.content]},
            {"role": "user", "content": results},
        ]
        fields = LIKE_CLAUDE_CODE | {"messages": [*LIKE_CLAUDE_CODE["messages"], *more]}
        async with client.beta.messages.stream(model="claude-opus-4-8", **fields) as stream:
            await stream.until_done()
        second = asked_of(world)[1]
        assert [message.role for message in second.prompt] == [Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL]

    model = replace(INFO, capabilities=Capabilities(tools=True, thinking=thinks))
    with_client(use, {GenerateRequest: think_and_call}, model=model)


def test_a_picture_reaches_the_engine_as_bytes():
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": DOT}}

    async def use(world, client):
        await client.messages.create(**QUESTION | {"messages": [{"role": "user", "content": [picture]}]})
        [part] = asked_of(world)[0].prompt[0].parts
        assert isinstance(part, Image)
        assert part.source.startswith(b"GIF89a")

    with_client(use, settle=MediaPolicy(MediaRules()).settle)


def test_a_picture_by_its_address_is_refused_unless_addresses_are_let_in():
    picture = {"type": "image", "source": {"type": "url", "url": "http://127.0.0.1/secret.png"}}

    async def use(world, client):
        with pytest.raises(anthropic.BadRequestError) as caught:
            await client.messages.create(**QUESTION | {"messages": [{"role": "user", "content": [picture]}]})
        assert "secret" not in str(caught.value)
        assert not asked_of(world)

    with_client(use, settle=MediaPolicy(MediaRules()).settle)


def test_a_form_is_parsed_with_pydantic():
    async def use(world, client):
        parsed = await client.messages.parse(**QUESTION, output_format=City)
        assert parsed.parsed_output == City(name="Bern")
        assert asked_of(world)[0].response_format is not None

    with_client(use, {GenerateRequest: speak('{"name":', '"Bern"}')})


def test_tokens_are_counted():
    async def use(world, client):
        fields = {"model": "claude-sonnet-5", "messages": QUESTION["messages"], "tools": [TOOL]}
        assert (await client.messages.count_tokens(**fields)).input_tokens == 3
        assert (await client.beta.messages.count_tokens(**fields)).input_tokens == 3
        asked = asked_of(world, CountTokens)[0]
        assert (asked.model, asked.tools[0].name) == (INFO.source, "time")

    with_client(use)


def test_a_key_may_come_either_way():
    async def use(world, client):
        bearer = anthropic.AsyncAnthropic(auth_token=KEY, base_url=ADDRESS, http_client=world.http, max_retries=0)
        for each in (client, bearer):
            assert (await each.messages.create(**QUESTION)).content[0].text == "Hello world"

    with_client(use)


def test_refusals_are_anthropics():
    async def use(world, client):
        with pytest.raises(anthropic.NotFoundError) as caught:
            await client.messages.create(**QUESTION | {"model": "nobody/has-it"})
        assert caught.value.type == "not_found_error"
        with pytest.raises(anthropic.UnprocessableEntityError, match="max_tokens") as caught:
            await client.messages.create(**QUESTION | {"max_tokens": 0})
        assert caught.value.type == "invalid_request_error"
        with pytest.raises(anthropic.BadRequestError, match="web_search_20250305"):
            await client.messages.create(**QUESTION, tools=[{"type": "web_search_20250305", "name": "web_search"}])
        stranger = anthropic.AsyncAnthropic(
            api_key="x" * 20, base_url=ADDRESS, http_client=world.http, max_retries=0, default_headers={}
        )
        world.http.headers.pop("authorization")
        with pytest.raises(anthropic.AuthenticationError) as caught:
            await stranger.messages.create(**QUESTION)
        assert caught.value.type == "authentication_error"
        assert not asked_of(world)

    with_client(use)


def test_foreign_names_can_be_turned_off():
    async def use(world, client):
        with pytest.raises(anthropic.NotFoundError):
            await client.messages.create(**QUESTION)

    with_client(use, foreign_names=False)


@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_before_anything_was_said_has_a_status(stream):
    async def use(world, client):
        with pytest.raises(anthropic.BadRequestError, match="too long"):
            await client.messages.create(**QUESTION, stream=stream)

    with_client(use, {GenerateRequest: fail(ContextError("The prompt is too long."))})


def test_a_failure_in_a_stream_is_an_event():
    def begin_and_fail(request_id, request):
        yield TextDelta(request_id, "Hel")
        raise ContextError("The prompt is too long.")

    async def use(world, client):
        with pytest.raises(anthropic.APIStatusError, match="too long"):
            async with client.messages.stream(**QUESTION) as stream:
                await stream.get_final_message()
        raw = await world.http.post("/v1/messages?beta=true", json=QUESTION | {"stream": True})
        assert raw.status_code == 200
        assert "[DONE]" not in events_of(raw.text)

    with_client(use, {GenerateRequest: begin_and_fail})
