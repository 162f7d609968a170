"""OpenAI's client and the tiny model, with nothing made up between them."""

import base64
import struct

import openai
import pytest

from tests.serve.tiny_engine import tiny_engine, with_http
from tests.serve.world import ADDRESS, KEY

HELLO = [{"role": "user", "content": "Hello"}]
LETTERS = {"guided_regex": "[a-z]{12}"}
END = 256


@pytest.fixture(scope="module")
def engine(tiny_llama):
    with tiny_engine(tiny_llama) as client:
        yield client


def with_client(engine, use):
    async def with_openai(http):
        await use(openai.AsyncOpenAI(api_key=KEY, base_url=f"{ADDRESS}/v1", http_client=http, max_retries=0))

    with_http(engine, with_openai)


def spelled(choice):
    return b"".join(bytes(token.bytes) for token in choice.logprobs.content).decode()


def test_the_tokens_told_of_are_those_of_the_text(engine):
    async def use(client):
        model = (await client.models.list()).data[0].id
        ask_for = {"model": model, "messages": HELLO, "logprobs": True, "top_logprobs": 2, "seed": 1}
        answer = await client.chat.completions.create(**ask_for, n=2, extra_body=LETTERS)
        for choice in answer.choices:
            assert len(choice.message.content) == 12
            assert spelled(choice) == choice.message.content
            assert all(len(token.top_logprobs) == 2 for token in choice.logprobs.content)
        ended = await client.chat.completions.create(**ask_for, logit_bias={str(END): 100})
        assert ended.choices[0].finish_reason == "stop"
        assert ended.choices[0].logprobs.content == []
        assert ended.usage.completion_tokens == 1

    with_client(engine, use)


def test_streamed_and_whole_are_the_same(engine):
    async def use(client):
        model = (await client.models.list()).data[0].id
        ask_for = {"model": model, "messages": HELLO, "seed": 5, "temperature": 1, "max_tokens": 20}
        whole = await client.chat.completions.create(**ask_for)
        stream = await client.chat.completions.create(**ask_for, stream=True)
        chunks = [chunk async for chunk in stream]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert text == whole.choices[0].message.content
        assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason

    with_client(engine, use)


def test_texts_tokens_and_vectors(engine):
    async def use(client):
        model = (await client.models.list()).data[0].id
        answer = await client.completions.create(model=model, prompt="Once", logprobs=1, extra_body=LETTERS)
        told = answer.choices[0].logprobs
        assert "".join(told.tokens) == answer.choices[0].text
        assert told.text_offset == list(range(12))
        counted = await client.post("/tokenize", body={"input": "Once"}, cast_to=object)
        assert counted["count"] == len(counted["tokens"]) == answer.usage.prompt_tokens
        vectors = [
            (await client.embeddings.create(model=model, input="Once", encoding_format=kind)).data[0].embedding
            for kind in ("float", "base64")
        ]
        packed = base64.b64decode(vectors[1])
        assert struct.unpack(f"<{len(packed) // 4}f", packed) == pytest.approx(vectors[0])

    with_client(engine, use)
