"""Which tokens a text or a conversation comes to."""

import pytest
from pydantic import ValidationError

from engine.api.errors import EngineError
from engine.api.events import Finished, FinishReason, Usage
from engine.api.request import CountTokens, Message, RenderedPrompt, Role, Text
from engine.api.tools import Tool
from engine.serve.failures import Refused
from engine.serve.wire.tokenize import TokenizeBody, tokenize_object, tokenize_request


def request(**fields):
    return tokenize_request(TokenizeBody.model_validate(fields), tenant="salt")


@pytest.mark.parametrize("name", ["input", "prompt"])
def test_a_bare_text(name):
    assert request(**{name: "Hello"}) == CountTokens(RenderedPrompt("Hello"), tenant="salt")


def test_a_conversation():
    asked = request(
        messages=[{"role": "user", "content": "Hello"}],
        tools=[{"type": "function", "function": {"name": "time"}}],
        enable_thinking=False,
    )
    assert asked.prompt == (Message(Role.USER, (Text("Hello"),)),)
    assert asked.tools == (Tool("time"),)
    assert asked.template_options == (("enable_thinking", False),)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"input": "a", "prompt": "b"},
        {"input": "a", "messages": [{"role": "user", "content": "b"}]},
        {"input": "a", "chat_template": "{{ messages }}"},
        {"input": "a", "chat_template_kwargs": {"chat_template": ""}},
    ],
)
def test_exactly_one_thing_and_no_template(fields):
    with pytest.raises(Refused):
        request(**fields)


@pytest.mark.parametrize("fields", [{"input": 3}, {"input": ["a"]}, {"messages": []}, {"input": "\ud800"}])
def test_what_cannot_be_read_is_refused(fields):
    with pytest.raises(ValidationError):
        request(**fields)


def test_tools_that_are_none_are_refused():
    with pytest.raises(EngineError):
        request(input="a", tools=[{"type": "web_search"}])


def test_what_is_told():
    finished = Finished("r1", FinishReason.DONE, Usage(prompt_tokens=3), token_ids=(5, 6, 7))
    assert tokenize_object(finished) == {"tokens": [5, 6, 7], "count": 3}
