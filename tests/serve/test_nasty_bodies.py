"""Bodies that nobody should send: each is refused in its protocol's own words, and nothing of it is said again."""

import asyncio
import gzip
import json

import pytest

from engine.api.request import CountTokens, EmbedRequest, GenerateRequest
from engine.serve.media.policy import MediaPolicy
from engine.serve.settings import MediaRules
from engine.serve.wire import body as wire_body
from tests.fake_engine import finish
from tests.serve.world import open_world

SECRET = "a secret/that-nobody may read again"
"""No single word: the type of a part that is not supported may be named."""
SCRIPTS = {
    CountTokens: finish(token_ids=(1, 2)),
    EmbedRequest: finish(embeddings=((0.6, 0.8),)),
}
RIGHT = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "x"}]},
    "/v1/completions": {"prompt": "x"},
    "/v1/responses": {"input": "x"},
    "/v1/responses/input_tokens": {"input": "x"},
    "/v1/messages": {"messages": [{"role": "user", "content": "x"}], "max_tokens": 5},
    "/v1/messages/count_tokens": {"messages": [{"role": "user", "content": "x"}]},
    "/v1/embeddings": {"input": "x"},
    "/v1/tokenize": {"input": "x"},
    "/v1/models/load": {"model": "starter"},
    "/generate": {"prompt": "x"},
}
"""What is answered, for each route that takes a body; every test spoils one thing in it."""
FIELDS = {
    "/v1/chat/completions": (
        *("messages", "model", "temperature", "top_p", "top_k", "seed", "max_tokens", "max_completion_tokens", "n"),
        *("logprobs", "top_logprobs", "logit_bias", "stop", "stream", "stream_options", "tools", "tool_choice"),
        *("response_format", "reasoning_effort", "chat_template_kwargs", "guided_choice", "resize_shape"),
    ),
    "/v1/completions": ("prompt", "model", "temperature", "max_tokens", "logprobs", "n", "stop"),
    "/v1/responses": (
        *("input", "model", "temperature", "top_p", "max_output_tokens", "metadata", "text", "tools", "tool_choice"),
        *("include", "reasoning", "previous_response_id", "instructions", "store", "stream", "truncation"),
    ),
    "/v1/messages": (
        *("messages", "model", "max_tokens", "temperature", "top_k", "system", "stop_sequences", "stream", "tools"),
        *("tool_choice", "thinking", "output_config"),
    ),
    "/v1/embeddings": ("input", "model", "encoding_format", "dimensions"),
    "/v1/tokenize": ("input", "model"),
    "/v1/models/load": ("model",),
    "/generate": ("prompt", "image", "max_tokens", "temperature"),
}
OF_ANY_OBJECT = ("stream_options", "text", "reasoning", "output_config", "response_format")
"""Of names that are not known they make nothing, and say nothing."""
WRONG = {
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "an integer of 5000 digits": "9" * 5000,
    "1e400": "1e400",
    "an object": json.dumps({SECRET: {SECRET: SECRET}}),
    "a list": json.dumps([SECRET, {SECRET: SECRET}]),
}
"""No field takes any of these."""
RAW = {
    "nothing": b"",
    "blank": b" \n",
    "null": b"null",
    "a list": b"[]",
    "a number": b"1",
    "a text": json.dumps(SECRET).encode(),
    "cut short": f'{{"model": "{SECRET}"'.encode(),
    "two objects": f'{{}}{{"model": "{SECRET}"}}'.encode(),
    "not UTF-8": b'{"model": "\xff\xfe' + SECRET.encode() + b'"}',
    "zeros": b"\0" * 100,
    "compressed": gzip.compress(json.dumps({"model": SECRET}).encode()),
    "a form": f"model={SECRET}".encode(),
    "a hundred thousand lists": b"[" * 100_000,
}


def nested(depth):
    """Objects in one another."""
    return '{"a":' * depth + "1" + "}" * depth


def spoiled(route, field, value):
    fields = {name: json.dumps(given) for name, given in RIGHT[route].items()} | {field: value}
    return "{" + ",".join(f"{json.dumps(name)}:{given}" for name, given in fields.items()) + "}"


def refused(answer, route, statuses=(400, 422)):
    assert answer.status_code in statuses, (answer.status_code, answer.text[:500])
    for told in (SECRET, SECRET.split("/")[1], json.dumps(SECRET)):
        assert told not in answer.text
    assert len(answer.content) < 1000
    error = answer.json()["error"]
    assert error["message"].endswith(".")
    if route.startswith("/v1/messages"):
        assert answer.json()["type"] == "error"
        assert error["type"] == "invalid_request_error"
    else:
        assert error["type"] == "invalid_request_error"
        assert error["code"]


def ask_all(bodies, check, scripts=None):
    """`bodies` are (route, body); the engine must not have been asked for an answer, and nothing may be left."""

    async def main():
        async with open_world(SCRIPTS | (scripts or {})) as world:
            for route, body in bodies:
                answer = await world.http.post(route, content=body, headers={"content-type": "application/json"})
                check(answer, route)
            await world.nothing_left()
            return world.engine.requests

    return asyncio.run(main())


def test_what_is_spoiled_is_answered_where_it_is_not():
    def answered(answer, route):
        assert answer.status_code == 200, (route, answer.text)

    ask_all([(route, json.dumps(body)) for route, body in RIGHT.items()], answered)


@pytest.mark.parametrize("what", RAW)
def test_bodies_that_are_no_objects(what):
    asked = ask_all([(route, RAW[what]) for route in RIGHT], refused)
    assert not any(isinstance(request, GenerateRequest) for request in asked)


def test_a_body_that_is_said_to_be_compressed():
    async def main():
        async with open_world(SCRIPTS) as world:
            for route, body in RIGHT.items():
                headers = {"content-type": "application/json", "content-encoding": "gzip"}
                data = gzip.compress(json.dumps(body).encode())
                refused(await world.http.post(route, content=data, headers=headers), route, (400, 415))

    asyncio.run(main())


@pytest.mark.parametrize("route", FIELDS)
@pytest.mark.parametrize("wrong", WRONG)
def test_values_that_no_field_takes(route, wrong):
    bodies = [
        (route, spoiled(route, field, WRONG[wrong]))
        for field in FIELDS[route]
        if wrong != "an object" or field not in OF_ANY_OBJECT
    ]
    asked = ask_all(bodies, refused)
    assert not any(isinstance(request, GenerateRequest) for request in asked)


@pytest.mark.parametrize("route", FIELDS)
def test_half_of_a_surrogate_pair(route):
    """Which JSON can write, and no tokenizer reads."""
    text = json.dumps("\ud800" + SECRET)
    texts = {"messages", "prompt", "input", "system", "instructions", "stop", "previous_response_id", "model"}

    def asked_for(field):
        if field == "messages":
            return f'[{{"role":"user","content":{text}}}]'
        return text

    bodies = [(route, spoiled(route, field, asked_for(field))) for field in FIELDS[route] if field in texts]
    assert bodies
    ask_all(bodies, lambda answer, route: refused(answer, route, (400, 404, 422)))


def deep_bodies(depth):
    """Where a body may hold whatever it likes, it holds too much of it."""
    deep = nested(depth)
    tool = f'{{"type":"function","name":"t","function":{{"name":"t","parameters":{deep}}},"parameters":{deep}}}'
    call = f'{{"role":"assistant","tool_calls":[{{"id":"a","function":{{"name":"t","arguments":{deep}}}}}]}}'
    use = f'{{"role":"assistant","content":[{{"type":"tool_use","id":"a","name":"t","input":{deep}}}]}}'
    user = '{"role":"user","content":"x"}'
    thought = f'{{"type":"reasoning","summary":[{deep}]}}'
    form = f'{{"type":"json_schema","name":"f","json_schema":{{"name":"f","schema":{deep}}},"schema":{deep}}}'
    return [
        ("/v1/chat/completions", spoiled("/v1/chat/completions", "tools", f"[{tool}]")),
        ("/v1/chat/completions", spoiled("/v1/chat/completions", "messages", f"[{user},{call}]")),
        ("/v1/chat/completions", spoiled("/v1/chat/completions", "response_format", form)),
        ("/v1/chat/completions", spoiled("/v1/chat/completions", "unheard_of", deep)),
        ("/v1/responses", spoiled("/v1/responses", "tools", f"[{tool}]")),
        ("/v1/responses", spoiled("/v1/responses", "input", f"[{thought},{user}]")),
        ("/v1/responses", spoiled("/v1/responses", "text", f'{{"format":{form}}}')),
        ("/v1/messages", spoiled("/v1/messages", "messages", f"[{user},{use},{user}]")),
        ("/v1/messages", spoiled("/v1/messages", "tools", f'[{{"name":"t","input_schema":{deep}}}]')),
        ("/v1/embeddings", spoiled("/v1/embeddings", "unheard_of", deep)),
    ]


@pytest.mark.parametrize("depth", [130, 400, 600, 800, 950, 2_000, 100_000])
def test_what_is_nested_too_deep(depth):
    ask_all(deep_bodies(depth), refused)


def test_without_a_limit_it_would_break_something(monkeypatch):
    monkeypatch.setattr(wire_body, "MOST_NESTED", 10_000)
    found = []
    ask_all(deep_bodies(600), lambda answer, route: found.append(answer.status_code))
    assert 500 in found


def test_what_is_nested_as_deep_as_may_be_is_answered():
    def answered(answer, route):
        assert answer.status_code == 200, (route, answer.text)

    usual = [body for body in deep_bodies(40) if "json_schema" not in body[1]]
    ask_all(usual, answered)


def test_what_is_made_of_too_many_values():
    """Reading those would keep everybody else waiting; of one long text it does not."""

    async def main():
        async with open_world(SCRIPTS, limits={"max_body_values": 1000}) as world:
            for value, status in (([0] * 1100, 413), ([[]] * 1100, 413), ([0] * 900, 200), ("x" * 100_000, 200)):
                for route, body in RIGHT.items():
                    answer = await world.http.post(route, json=body | {"unheard_of": value})
                    assert answer.status_code == status, (route, answer.text)

    asyncio.run(main())


def test_of_names_that_come_twice_the_last_counts():
    """As in JavaScript and Python: whoever checks a body before it comes here reads the same."""
    body = '{"messages":[{"role":"user","content":"first"}],"messages":[{"role":"user","content":"last"}]}'
    [asked] = ask_all([("/v1/chat/completions", body)], lambda answer, route: None)[-1:]
    assert asked.prompt[-1].text == "last"


WORDS = {
    "Content-Type: application/json": ("/v1/chat/completions", {}, {"content-type": "text/plain"}),
    "data: and its media type": (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}]},
        {},
    ),
    "several answers": ("/generate", {"prompt": "x", "n": 2}, {}),
}


@pytest.mark.parametrize("words", WORDS)
def test_our_own_words_are_not_taken_for_the_client_s(words):
    route, body, headers = WORDS[words]

    async def main():
        async with open_world(SCRIPTS, settle=MediaPolicy(MediaRules()).settle) as world:
            answer = await world.http.post(route, json=body, headers=headers)
            assert 400 <= answer.status_code < 500
            assert words in answer.json()["error"]["message"]
            assert "…" not in answer.json()["error"]["message"]

    asyncio.run(main())


def test_what_is_expected_is_said():
    """Though nothing of what came is."""

    def told(answer, route):
        refused(answer, route)
        assert "user, assistant or tool" in answer.json()["error"]["message"]

    message = [{"role": SECRET, "content": "x"}]
    ask_all([("/v1/chat/completions", json.dumps({"messages": message}))], told)
