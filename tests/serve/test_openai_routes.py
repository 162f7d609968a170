"""OpenAI's routes in process: its client asks, an engine that answers from a script is asked."""

import asyncio
import json

import openai
import pytest
from pydantic import BaseModel

from engine.api.errors import ContextError
from engine.api.events import Finished, FinishReason, TextDelta, ThinkingDelta, ToolCallDelta, Usage
from engine.api.request import CountTokens, EmbedRequest, GenerateRequest, Image, Message, RenderedPrompt, Role, Text
from tests.fake_engine import INFO, USAGE, fail, speak
from tests.serve.world import ADDRESS, KEY, events_of, open_world

HELLO = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "properties": {}}}}
DOT = "data:image/gif;base64,R0lGODlhAQABAAAAACw="


class City(BaseModel):
    name: str


def think_and_call(request_id, request):
    yield ThinkingDelta(request_id, "Hm.")
    yield TextDelta(request_id, "One moment.")
    yield ToolCallDelta(request_id, 0, "time", "{}", "abc")
    yield ToolCallDelta(request_id, 1, "time", "{}", "def")
    yield Finished(request_id, FinishReason.TOOL_CALLS, USAGE)


def embed(request_id, request):
    vectors = tuple((float(len(text)), 0.5) for text in request.texts)
    yield Finished(request_id, FinishReason.DONE, Usage(prompt_tokens=5), embeddings=vectors)


def count(request_id, request):
    yield Finished(request_id, FinishReason.DONE, Usage(prompt_tokens=3), token_ids=(5, 6, 7))


def with_client(use, scripts=None, **options):
    """Runs `use(world, client)`, and sees that nothing of it is left."""

    async def main():
        async with open_world({EmbedRequest: embed, CountTokens: count} | (scripts or {}), **options) as world:
            client = openai.AsyncOpenAI(api_key=KEY, base_url=f"{ADDRESS}/v1", http_client=world.http, max_retries=0)
            await use(world, client)
            await world.nothing_left()

    asyncio.run(main())


def asked_of(world, kind=GenerateRequest):
    return [request for request in world.engine.requests if isinstance(request, kind)]


def test_a_chat_in_one_piece():
    async def use(world, client):
        answer = await client.chat.completions.create(model=INFO.source, messages=HELLO, temperature=0)
        assert answer.choices[0].message.content == "Hello world"
        assert (answer.model, answer.usage.prompt_tokens) == (INFO.source, USAGE.prompt_tokens)
        [asked] = asked_of(world)
        assert asked.prompt == (Message(Role.USER, (Text("Hello"),)),)
        assert (asked.model, asked.sampling.temperature) == (INFO.source, 0)

    with_client(use)


def test_a_chat_as_it_comes():
    async def use(world, client):
        chunks = await client.chat.completions.create(
            model=INFO.source, messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        found = [chunk async for chunk in chunks]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in found if chunk.choices) == "Hello world"
        assert (found[-1].choices, found[-1].usage.completion_tokens) == ([], USAGE.completion_tokens)
        assert len({chunk.id for chunk in found}) == 1

    with_client(use)


def test_tools_and_thinking():
    async def use(world, client):
        answer = await client.chat.completions.create(
            model=INFO.source, messages=HELLO, tools=[TOOL], tool_choice="auto", reasoning_effort="low"
        )
        message = answer.choices[0].message
        assert (message.content, message.reasoning_content) == ("One moment.", "Hm.")
        assert [call.id for call in message.tool_calls] == ["abc", "def"]
        answer = await client.chat.completions.create(
            model=INFO.source, messages=HELLO, tools=[TOOL], parallel_tool_calls=False
        )
        assert [call.id for call in answer.choices[0].message.tool_calls] == ["abc"]
        first, _ = asked_of(world)
        assert [tool.name for tool in first.tools] == ["time"]
        assert dict(first.template_options)["reasoning_effort"] == "low"

    with_client(use, {GenerateRequest: think_and_call})


def test_an_answer_is_parsed_with_pydantic():
    async def use(world, client):
        answer = await client.chat.completions.parse(model=INFO.source, messages=HELLO, response_format=City)
        assert answer.choices[0].message.parsed == City(name="Bern")
        [asked] = asked_of(world)
        assert asked.response_format.strict
        assert json.loads(asked.response_format.schema)["required"] == ["name"]

    with_client(use, {GenerateRequest: speak('{"name": ', '"Bern"}')})


def test_calls_of_strict_tools_are_parsed_with_pydantic():
    def call(request_id, request):
        yield ToolCallDelta(request_id, 0, "City", '{"name": "Bern"}', "abc")
        yield Finished(request_id, FinishReason.TOOL_CALLS, USAGE)

    async def use(world, client):
        tools = [openai.pydantic_function_tool(City)]
        assert tools[0]["function"]["strict"]
        answer = await client.chat.completions.parse(
            model=INFO.source, messages=HELLO, tools=tools, tool_choice="required"
        )
        [called] = answer.choices[0].message.tool_calls
        assert called.function.parsed_arguments == City(name="Bern")
        [asked] = asked_of(world)
        assert json.loads(asked.tools[0].parameters)["required"] == ["name"]

    with_client(use, {GenerateRequest: call})


def test_the_model_need_not_be_named():
    async def use(world, client):
        answer = await world.http.post("/v1/chat/completions", json={"messages": HELLO})
        assert answer.json()["model"] == INFO.source

    with_client(use)


def test_a_failure_before_anything_was_said_is_a_status_streamed_or_not():
    async def use(world, client):
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError, match="900 tokens") as caught:
                await client.chat.completions.create(model=INFO.source, messages=HELLO, stream=stream)
            assert caught.value.code == "context_length_exceeded"

    with_client(use, {GenerateRequest: fail(ContextError("It has 900 tokens."))})


def test_bodies_that_are_refused_never_reach_the_engine():
    async def use(world, client):
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(
                model=INFO.source, messages=HELLO, extra_body={"adapter_path": "/secret"}
            )
        assert caught.value.param == "adapter_path"
        assert "secret" not in caught.value.message
        with pytest.raises(openai.UnprocessableEntityError) as caught:
            await client.chat.completions.create(model=INFO.source, messages=HELLO, temperature=3)
        assert caught.value.param == "temperature"
        for number in ("NaN", "1e999", "-1", "true"):
            body = f'{{"messages": [{{"role": "user", "content": "Hello"}}], "temperature": {number}}}'
            answer = await world.http.post(
                "/v1/chat/completions", content=body, headers={"content-type": "application/json"}
            )
            assert (answer.status_code, answer.json()["error"]["param"]) == (422, "temperature")
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="no/model", messages=HELLO)
        assert asked_of(world) == []

    with_client(use)


def test_a_bare_text():
    async def use(world, client):
        answer = await client.completions.create(model=INFO.source, prompt="Once")
        assert answer.choices[0].text == "Hello world"
        chunks = await client.completions.create(model=INFO.source, prompt="Once", stream=True)
        assert "".join([chunk.choices[0].text async for chunk in chunks]) == "Hello world"
        first, _ = asked_of(world)
        assert (first.prompt, first.max_tokens, first.model) == (RenderedPrompt("Once"), 16, INFO.source)
        with pytest.raises(openai.BadRequestError, match="echo"):
            await client.completions.create(model=INFO.source, prompt="Once", echo=True)

    with_client(use)


def test_vectors():
    async def use(world, client):
        answer = await client.embeddings.create(model=INFO.source, input=["a", "bcd"])
        assert [each.embedding for each in answer.data] == [[1.0, 0.5], [3.0, 0.5]]
        assert answer.usage.total_tokens == 5
        [asked] = asked_of(world, EmbedRequest)
        assert (asked.texts, asked.model) == (("a", "bcd"), INFO.source)
        assert asked.tenant != ""

    with_client(use)


def test_tokens():
    async def use(world, client):
        answer = await world.http.post("/v1/tokenize", json={"input": "Hello"})
        assert answer.json() == {"tokens": [5, 6, 7], "count": 3}
        await world.http.post("/v1/tokenize", json={"messages": HELLO})
        bare, told = asked_of(world, CountTokens)
        assert (bare.prompt, bare.model) == (RenderedPrompt("Hello"), INFO.source)
        assert told.template_options == (("enable_thinking", True),)

    with_client(use, template_options=(("enable_thinking", True),))


def test_pictures_that_are_counted_go_the_way_of_those_that_are_answered():
    places = []

    async def use(world, client):
        content = [{"type": "image_url", "image_url": {"url": DOT}}]
        answer = await world.http.post("/v1/tokenize", json={"messages": [{"role": "user", "content": content}]})
        assert answer.json()["count"] == 3
        [asked] = asked_of(world, CountTokens)
        assert asked.prompt == (Message(Role.USER, (Image(b"settled"),)),)
        assert len(places) == 1

    async def settle(request):
        assert request.prompt[0].parts == (Image(DOT),)
        places.append(request)
        return GenerateRequest((Message(Role.USER, (Image(b"settled"),)),))

    with_client(use, settle=settle)


def test_a_text_that_is_counted_needs_no_place():
    async def settle(request):
        raise AssertionError("There are no media.")

    async def use(world, client):
        answer = await world.http.post("/v1/tokenize", json={"messages": HELLO})
        assert answer.status_code == 200

    with_client(use, settle=settle)


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("/chat/completions", {"messages": HELLO}, ("choices", 0, "message", "content")),
        ("/completions", {"prompt": "Once"}, ("choices", 0, "text")),
        ("/generate", {"prompt": "Once"}, ("text",)),
    ],
)
def test_paths_of_mlx_vlm_answer_as_well(path, body, place):
    async def use(world, client):
        answer = await world.http.post(path, json=body)
        found = answer.json()
        for name in place:
            found = found[name]
        assert found == "Hello world"
        streamed = await world.http.post(path, json=body | {"stream": True})
        assert len(events_of(streamed.text)) >= 3

    with_client(use)


def test_other_paths_of_mlx_vlm():
    async def use(world, client):
        assert (await world.http.post("/embeddings", json={"input": "a"})).json()["object"] == "list"
        assert (await world.http.post("/tokenize", json={"input": "a"})).json()["count"] == 3

    with_client(use)


def test_the_schema_tells_of_openais_paths_alone():
    async def use(world, client):
        paths = world.built.api.openapi()["paths"]
        assert {"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/tokenize"} <= paths.keys()
        assert not {"/chat/completions", "/generate"} & paths.keys()

    with_client(use)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/v1/tokenize", "/generate"])
def test_nobody_is_answered_without_a_key(path):
    async def use(world, client):
        del world.http.headers["authorization"]
        answer = await world.http.post(path, json={"messages": HELLO, "prompt": "Once", "input": "a"})
        assert answer.status_code == 401
        assert answer.json()["error"]["type"] == "authentication_error"

    with_client(use)
