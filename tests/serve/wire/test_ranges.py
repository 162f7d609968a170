"""Every number of every body is held to its range: nan, the infinite, the huge and what is no number are refused."""

import itertools
import json
import math
import random

import pytest
from pydantic import ValidationError

from engine.serve.wire.chat_body import ChatBody, chat_request
from engine.serve.wire.completions_body import CompletionsBody, completions_request
from engine.serve.wire.generate import GenerateBody, generate_request

LEAST_AND_MOST = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "top_k": (0, 10_000_000),
    "min_p": (0, 1),
    "repetition_penalty": (0.01, 100),
    "repetition_context_size": (0, 2**31 - 1),
    "presence_penalty": (-2, 2),
    "presence_context_size": (0, 2**31 - 1),
    "frequency_penalty": (-2, 2),
    "frequency_context_size": (0, 2**31 - 1),
    "xtc_probability": (0, 1),
    "xtc_threshold": (0, 0.5),
    "no_repeat_ngram_size": (0, 1000),
    "seed": (-(2**63), 2**64 - 1),
    "max_tokens": (1, 2**31 - 1),
    "n": (1, 16),
}
OF_CHATS = {"max_completion_tokens": (1, 2**31 - 1), "top_logprobs": (0, 20), "thinking_budget": (0, 2**31 - 1)}
WHOLE = {name for name in LEAST_AND_MOST if name.endswith("size")} | {"top_k", "seed", "max_tokens", "n", *OF_CHATS}
CHAT = {"messages": [{"role": "user", "content": "Hello"}]}
KINDS = [
    (ChatBody, chat_request, CHAT, LEAST_AND_MOST | OF_CHATS),
    (CompletionsBody, completions_request, {"prompt": "Hello"}, LEAST_AND_MOST | {"logprobs": (0, 20)}),
    (GenerateBody, generate_request, {"prompt": "Hello"}, LEAST_AND_MOST | {"thinking_budget": (0, 2**31 - 1)}),
]
FIELDS = [
    pytest.param(kind, request, least, name, *limits, id=f"{kind.__name__}-{name}")
    for kind, request, least, fields in KINDS
    for name, limits in fields.items()
]
NO_NUMBERS = [math.nan, math.inf, -math.inf, 10**400, -(10**400), 1e308, -1e308, True, False, "1", "", [1], {}]


def read(kind, body):
    """As a server does that takes in JSON."""
    return kind.model_validate(json.loads(json.dumps(body)))


@pytest.mark.parametrize(("kind", "request_of", "body", "name", "least", "most"), FIELDS)
def test_the_ends_of_a_range_are_in_it(kind, request_of, body, name, least, most):
    extra = {"logprobs": True} if name == "top_logprobs" else {}
    for value in (least, most):
        asked = read(kind, {**body, **extra, name: value})
        assert getattr(asked, name) == value
        if (kind, name) != (GenerateBody, "n"):
            request_of(asked, tenant="")


@pytest.mark.parametrize(("kind", "request_of", "body", "name", "least", "most"), FIELDS)
def test_whatever_is_out_of_range_is_refused(kind, request_of, body, name, least, most):
    noise = random.Random(name)
    reach = max(1.0, float(most) - float(least))
    below = [least - 1, *(least - reach * noise.uniform(1e-3, 1e6) - 1 for _ in range(10))]
    above = [most + 1, *(most + reach * noise.uniform(1e-3, 1e6) + 1 for _ in range(10))]
    if name in WHOLE or name == "logprobs":
        below, above = map(int, below), map(int, above)
        assert_refused(kind, body, name, least + 0.5)
    for value in itertools.chain(NO_NUMBERS, below, above):
        assert_refused(kind, body, name, value)


@pytest.mark.parametrize("value", [*NO_NUMBERS, 100.1, -101])
def test_biases_are_held_to_their_range(value):
    assert_refused(ChatBody, CHAT, "logit_bias", {"5": value})


@pytest.mark.parametrize("token", ["", "-1", "a", "1.5", " 1", "9" * 10, "١"])
def test_biases_are_of_tokens(token):
    assert_refused(ChatBody, CHAT, "logit_bias", {token: 1})


def test_there_are_not_too_many_of_anything():
    assert_refused(ChatBody, CHAT, "logit_bias", {str(token): 1 for token in range(1025)})
    assert_refused(ChatBody, CHAT, "stop", [str(number) for number in range(65)])
    assert_refused(ChatBody, CHAT, "stop", "x" * 1001)
    assert_refused(ChatBody, CHAT, "stop", ["a", ""])
    assert_refused(ChatBody, CHAT, "tools", [{}] * 1025)
    assert_refused(ChatBody, CHAT, "model", "x" * 1025)


@pytest.mark.parametrize("name", ["stream", "logprobs", "enable_thinking", "parallel_tool_calls"])
@pytest.mark.parametrize("value", [0, 1, "true", "no", [], {}])
def test_truth_is_true_or_false(name, value):
    assert_refused(ChatBody, CHAT, name, value)


@pytest.mark.parametrize("value", [[], [0], [1, 2, 3], [1.5, 2], [True, 2], ["1", 2], [32_769, 1], 336])
def test_sides_of_pictures_are_held_to_their_range(value):
    assert_refused(ChatBody, CHAT, "resize_shape", value)


@pytest.mark.parametrize("value", [math.nan, 0, -1, 1001, True, "2"])
def test_frames_of_clips_are_held_to_their_range(value):
    clip = {"type": "video_url", "video_url": "data:,", "fps": value}
    assert_refused(ChatBody, CHAT, "messages", [{"role": "user", "content": [clip]}])


@pytest.mark.parametrize("value", ["extreme", "", 3, True, ["low"]])
def test_effort_is_one_of_a_few_words(value):
    assert_refused(ChatBody, CHAT, "reasoning_effort", value)


def assert_refused(kind, body, name, value):
    with pytest.raises(ValidationError) as caught:
        read(kind, {**body, name: value})
    assert {error["loc"][0] for error in caught.value.errors()} == {name}
