"""Anthropic's and OpenAI's newer routes and the tiny model, with nothing made up between them."""

import anthropic
import openai
import pytest

from tests.serve.tiny_engine import tiny_engine, with_http
from tests.serve.world import ADDRESS, KEY

QUESTION = {"model": "claude-sonnet-5", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(scope="module")
def engine(tiny_llama):
    with tiny_engine(tiny_llama) as client:
        yield client


def form(text):
    return {"output_config": {"format": {"type": "json_schema", "schema": {"const": text}}}}


def test_messages(engine):
    async def use(http):
        client = anthropic.AsyncAnthropic(api_key=KEY, base_url=ADDRESS, http_client=http, max_retries=0)
        stopped = await client.messages.create(**QUESTION, **form("ab###c"), max_tokens=50, stop_sequences=["c", "###"])
        assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "###")
        assert stopped.content[0].text == '"ab'
        async with client.messages.stream(**QUESTION, **form("abc"), max_tokens=3) as stream:
            cut = await stream.get_final_message()
        assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 3)
        ended = await client.messages.create(**QUESTION, **form("abc"), max_tokens=50)
        assert (ended.stop_reason, ended.content[0].text) == ("end_turn", '"abc"')
        counted = await client.messages.count_tokens(**QUESTION)
        assert counted.input_tokens == ended.usage.input_tokens + ended.usage.cache_read_input_tokens

    with_http(engine, use)


def test_responses(engine):
    async def use(http):
        client = openai.AsyncOpenAI(api_key=KEY, base_url=f"{ADDRESS}/v1", http_client=http, max_retries=0)
        text = {"format": {"type": "json_schema", "name": "x", "schema": {"const": "abc"}}}
        asked = {"model": "gpt-6", "text": text, "top_logprobs": 2, "include": ["message.output_text.logprobs"]}
        first = await client.responses.create(**asked, input="Hello")
        [message] = first.output
        told = message.content[0].logprobs
        assert b"".join(bytes(one.bytes) for one in told).decode() == first.output_text == '"abc"'
        assert all(len(one.top_logprobs) == 2 for one in told)
        async with client.responses.stream(**asked, input="And?", previous_response_id=first.id) as stream:
            second = await stream.get_final_response()
        assert second.output_text == '"abc"'
        assert second.usage.input_tokens > first.usage.input_tokens
        counted = await client.responses.input_tokens.count(model="gpt-6", input="And?", previous_response_id=first.id)
        assert counted.input_tokens == second.usage.input_tokens

    with_http(engine, use)
