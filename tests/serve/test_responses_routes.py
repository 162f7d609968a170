"""`/v1/responses` in process: OpenAI's client asks, an engine that answers from a script is asked."""

import asyncio
import json

import openai
import pytest
from pydantic import BaseModel

from engine.api.errors import ContextError
from engine.api.events import Finished, FinishReason, TextDelta, ThinkingDelta, ToolCallDelta, Usage
from engine.api.request import CountTokens, GenerateRequest, Image, LoadModel, Role
from engine.serve.media.policy import MediaPolicy
from engine.serve.settings import MediaRules
from tests.fake_engine import INFO, USAGE, fail, speak, speak_until_cancelled
from tests.serve.world import ADDRESS, KEY, OTHER_KEY, Visit, events_of, open_world

QUESTION = {"model": INFO.source, "input": "Hello"}
DOT = "data:image/gif;base64,R0lGODlhAQABAAAAACw="


class City(BaseModel):
    name: str


def think_and_call(request_id, request):
    yield ThinkingDelta(request_id, "Hm.")
    yield TextDelta(request_id, "One moment.")
    yield ToolCallDelta(request_id, 0, "time", "{}", "abc")
    yield Finished(request_id, FinishReason.TOOL_CALLS, USAGE)


def count(request_id, request):
    yield Finished(request_id, FinishReason.DONE, Usage(prompt_tokens=3), token_ids=(5, 6, 7))


def client_with(world, key=KEY, base="/v1"):
    client = openai.AsyncOpenAI(api_key=key, base_url=ADDRESS + base, http_client=world.http, max_retries=0)
    return client.with_options(default_headers={"authorization": f"Bearer {key}"})


def with_client(use, scripts=None, **options):
    """Runs `use(world, client)`, and sees that nothing of it is left."""

    async def main():
        async with open_world({CountTokens: count} | (scripts or {}), **options) as world:
            await use(world, client_with(world))
            await world.nothing_left()

    asyncio.run(main())


def asked_of(world, kind=GenerateRequest):
    return [request for request in world.engine.requests if isinstance(request, kind)]


def test_a_response_in_one_piece():
    async def use(world, client):
        response = await client.responses.create(**QUESTION, instructions="Be kind.")
        assert (response.output_text, response.status, response.model) == ("Hello world", "completed", INFO.source)
        [asked] = asked_of(world)
        assert [message.text for message in asked.prompt] == ["Be kind.", "Hello"]
        assert asked.model == INFO.source

    with_client(use)


def test_a_response_as_it_comes():
    async def use(world, client):
        async with client.responses.stream(**QUESTION) as stream:
            events = [event async for event in stream]
            response = await stream.get_final_response()
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
        assert response.output_text == "Hello world"
        assert (await client.responses.retrieve(response.id)).output_text == "Hello world"

    with_client(use)


def test_a_form_is_parsed_with_pydantic():
    async def use(world, client):
        parsed = await client.responses.parse(**QUESTION, text_format=City)
        assert parsed.output_parsed == City(name="Bern")
        assert asked_of(world)[0].response_format is not None

    with_client(use, {GenerateRequest: speak('{"name":', '"Bern"}')})


def test_tools_and_what_they_gave():
    async def use(world, client):
        tools = [openai.pydantic_function_tool(City, name="time")["function"] | {"type": "function"}]
        first = await client.responses.create(**QUESTION, tools=tools)
        [call] = [item for item in first.output if item.type == "function_call"]
        given = {"type": "function_call_output", "call_id": call.call_id, "output": "Noon."}
        await client.responses.create(
            model=INFO.source, previous_response_id=first.id, input=[given], tools=tools, store=False
        )
        second = asked_of(world)[1]
        assert [message.role for message in second.prompt] == [Role.USER, Role.ASSISTANT, Role.TOOL]
        # The same, sent back by the client itself.
        items = [{"role": "user", "content": "Hello"}, *(item.to_dict() for item in first.output), given]
        await client.responses.create(model=INFO.source, input=items, tools=tools)
        assert asked_of(world)[2].prompt == second.prompt
        # And named by their ids.
        named = [{"type": "item_reference", "id": item.id} for item in first.output]
        await client.responses.create(model=INFO.source, input=[items[0], *named, given], tools=tools)
        assert asked_of(world)[3].prompt == second.prompt

    with_client(use, {GenerateRequest: think_and_call})


def test_a_picture_reaches_the_engine_as_bytes():
    picture = {"type": "input_image", "image_url": DOT, "detail": "auto"}

    async def use(world, client):
        await client.responses.create(model=INFO.source, input=[{"role": "user", "content": [picture]}])
        [part] = asked_of(world)[0].prompt[0].parts
        assert isinstance(part, Image)
        assert part.source.startswith(b"GIF89a")

    with_client(use, settle=MediaPolicy(MediaRules()).settle)


def test_what_is_kept_can_be_asked_for_turned_over_and_deleted():
    async def use(world, client):
        first = await client.responses.create(**QUESTION, metadata={"a": "b"})
        again = await client.responses.retrieve(first.id)
        assert again.to_dict() == first.to_dict()
        second = await client.responses.create(model=INFO.source, input="And?", previous_response_id=first.id)
        assert [message.text for message in asked_of(world)[1].prompt] == ["Hello", "Hello world", "And?"]
        items = [item async for item in client.responses.input_items.list(second.id, limit=2, order="asc")]
        assert [item.content[0].text for item in items] == ["Hello", "Hello world", "And?"]
        assert len({item.id for item in items}) == 3
        await client.responses.delete(first.id)
        for gone in (
            client.responses.retrieve(first.id),
            client.responses.delete(first.id),
            client.responses.create(**QUESTION, previous_response_id=first.id),
            client.responses.create(**QUESTION, previous_response_id=second.id),
        ):
            with pytest.raises(openai.NotFoundError) as caught:
                await gone
            assert caught.value.code == "response_not_found"

    with_client(use)


def test_what_is_not_to_be_kept_is_not():
    async def use(world, client):
        response = await client.responses.create(**QUESTION, store=False)
        assert response.to_dict()["store"] is False
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(response.id)

    with_client(use)


def test_nobody_sees_what_is_kept_for_another_key():
    async def use(world, client):
        mine = await client.responses.create(**QUESTION)
        other = client_with(world, OTHER_KEY)
        for look in (
            other.responses.retrieve(mine.id),
            other.responses.delete(mine.id),
            other.responses.cancel(mine.id),
            other.responses.input_items.list(mine.id),
            other.responses.create(**QUESTION, previous_response_id=mine.id),
            other.responses.create(model=INFO.source, input=[{"type": "item_reference", "id": mine.output[0].id}]),
        ):
            with pytest.raises(openai.NotFoundError):
                await look
        assert (await client.responses.retrieve(mine.id)).id == mine.id

    with_client(use)


def objects_of(visit):
    return [json.loads(data) for data in events_of(visit.body.decode())]


def test_an_answer_under_way_can_be_cancelled_from_elsewhere():
    async def use(world, client):
        visit = Visit(world.built.app, "/v1/responses", body=QUESTION | {"stream": True})
        await world.until(lambda: visit.body.count(b"data:") >= 5)
        name = objects_of(visit)[0]["response"]["id"]
        assert (await client.responses.retrieve(name)).status == "in_progress"
        with pytest.raises(openai.BadRequestError, match="in progress"):
            await client.responses.create(**QUESTION, previous_response_id=name)
        assert (await client.responses.cancel(name)).status == "cancelled"
        await visit.task
        last = objects_of(visit)[-1]
        assert (last["type"], last["response"]["status"]) == ("response.incomplete", "cancelled")
        kept = await client.responses.retrieve(name)
        assert (kept.status, kept.output_text) == ("cancelled", "One")
        assert (await client.responses.cancel(name)).status == "cancelled"

    with_client(use, {GenerateRequest: speak_until_cancelled("One")})


def test_a_client_that_goes_leaves_nothing_in_progress():
    async def use(world, client):
        visit = Visit(world.built.app, "/v1/responses", body=QUESTION | {"stream": True})
        await world.until(lambda: visit.body.count(b"data:") >= 5)
        name = objects_of(visit)[0]["response"]["id"]
        visit.leave()
        await visit.task
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(name)

    with_client(use, {GenerateRequest: speak_until_cancelled("One")})


def test_what_has_ended_cannot_be_cancelled():
    async def use(world, client):
        response = await client.responses.create(**QUESTION)
        with pytest.raises(openai.BadRequestError, match="ended"):
            await client.responses.cancel(response.id)

    with_client(use)


def test_the_paths_without_version_share_what_is_kept():
    async def use(world, client):
        response = await client_with(world, base="").responses.create(**QUESTION)
        assert (await client.responses.retrieve(response.id)).id == response.id

    with_client(use)


def test_tokens_are_counted():
    async def use(world, client):
        counted = await client.responses.input_tokens.count(**QUESTION, instructions="Be kind.")
        assert counted.input_tokens == 3
        assert [message.text for message in asked_of(world, CountTokens)[0].prompt] == ["Be kind.", "Hello"]

    with_client(use)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "web_search"),
        ({"conversation": "conv_1"}, "conversation"),
    ],
)
def test_what_is_not_supported_is_said(fields, named):
    async def use(world, client):
        with pytest.raises(openai.BadRequestError, match=named):
            await client.responses.create(**QUESTION, **fields)
        assert not asked_of(world)

    with_client(use)


def test_events_are_not_sent_twice():
    async def use(world, client):
        response = await client.responses.create(**QUESTION)
        with pytest.raises(openai.BadRequestError, match="stream"):
            await client.responses.retrieve(response.id, stream=True)

    with_client(use)


@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_before_anything_was_said_has_a_status(stream):
    async def use(world, client):
        with pytest.raises(openai.BadRequestError, match="too long"):
            await client.responses.create(**QUESTION, stream=stream)

    with_client(use, {GenerateRequest: fail(ContextError("The prompt is too long."))})


def test_a_failure_in_a_stream_is_told_and_kept():
    def begin_and_fail(request_id, request):
        yield TextDelta(request_id, "Hel")
        raise ContextError("The prompt is too long.")

    async def use(world, client):
        events = [event async for event in await client.responses.create(**QUESTION, stream=True)]
        assert [event.type for event in events[-2:]] == ["error", "response.failed"]
        kept = await client.responses.retrieve(events[0].response.id)
        assert (kept.status, kept.error.code) == ("failed", "invalid_prompt")

    with_client(use, {GenerateRequest: begin_and_fail})


def test_a_model_near_at_hand_is_not_taken_for_one_of_a_cloud():
    async def use(world, client):
        await client.responses.create(model="gpt-of-a-cloud", input="Hello")
        await client.responses.create(model="gpt-at-home", input="Hello")
        assert [request.model for request in asked_of(world)] == [INFO.source, "/models/gpt-at-home"]

    with_client(use, loads=(LoadModel("/models/gpt-at-home"),))
