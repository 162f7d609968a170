"""What Anthropic's clients send, as the engine is asked."""

import json

import pytest
from pydantic import ValidationError

from engine.api.errors import EngineError
from engine.api.request import Image, Message, Priority, Role, Text
from engine.api.response_format import JsonSchema
from engine.api.tools import Tool, ToolCall, ToolChoice, ToolResult
from engine.serve.failures import Refused
from engine.serve.wire.messages import Mind, count_request, messages_request
from engine.serve.wire.messages_body import CountBody, MessagesBody
from engine.serve.wire.messages_writer import Manner, Shown, manner_of

HELLO = [{"role": "user", "content": "Hello"}]
DOT = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
TOOL = {"name": "time", "description": "Tells it.", "input_schema": {"type": "object", "properties": {}}}
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}
CACHED = {"cache_control": {"type": "ephemeral"}}


def words(text):
    return {"type": "text", "text": text}


def body_of(**fields):
    return MessagesBody.model_validate({"model": "some/model", "max_tokens": 100, "messages": HELLO} | fields)


def asked(mind=Mind(), **fields):  # noqa: B008 - it is frozen
    return messages_request(body_of(**fields), mind, tenant="someone")


def turns(*messages, **fields):
    return asked(messages=list(messages), **fields).prompt


def user(*blocks):
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks):
    return {"role": "assistant", "content": list(blocks)}


def test_a_question():
    request = asked(temperature=0, top_p=0.5, top_k=3, stop_sequences=["###", "###"])
    assert request.prompt == (Message(Role.USER, (Text("Hello"),)),)
    assert (request.max_tokens, request.stop, request.tenant) == (100, ("###",), "someone")
    assert (request.sampling.temperature, request.sampling.top_p, request.sampling.top_k) == (0, 0.5, 3)
    assert request.priority is Priority.API


def test_system_blocks_are_one_instruction():
    given = [{**words("Be kind."), **CACHED}, words("Be brief.")]
    assert asked(system=given).prompt[0] == Message(Role.SYSTEM, (Text("Be kind.\n\nBe brief."),))
    assert asked(system="Be kind.").prompt[0] == Message(Role.SYSTEM, (Text("Be kind."),))
    assert asked(system="").prompt[0].role is Role.USER


def test_instructions_among_the_messages():
    first = turns({"role": "system", "content": "More."}, *HELLO, system="Some.")
    assert first[0] == Message(Role.SYSTEM, (Text("Some.\n\nMore."),))
    later = turns(*HELLO, {"role": "system", "content": "More."}, *HELLO)
    assert [message.role for message in later] == [Role.USER, Role.SYSTEM, Role.USER]


def test_turns_of_one_role_are_one():
    [one] = turns(*HELLO, user(words("A\n"), words("B"), DOT, words("C")))
    assert [part.text for part in one.parts if isinstance(part, Text)] == ["Hello\n", "A\n", "B", "C"]
    assert one.parts[3].source == "data:image/png;base64,AAAA"


def test_what_the_model_said_goes_back_as_it_was():
    _, said, _ = turns(*HELLO, assistant(words("A"), words("B")), *HELLO)
    assert said.text == "AB"


def test_a_picture_by_its_address_stays_an_address():
    [one] = turns(user({"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}))
    assert one.parts == (Image("https://example.org/a.png"),)


def test_a_call_and_what_it_gave():
    prompt = turns(
        *HELLO,
        assistant(
            {"type": "thinking", "thinking": "Hm.", "signature": "x"},
            {"type": "redacted_thinking", "data": "x"},
            words("One moment."),
            {"type": "tool_use", "id": "a", "name": "time", "input": {"zone": "Bern"}},
            {"type": "tool_use", "id": "b", "name": "look", "input": {}},
        ),
        user(
            {"type": "tool_result", "tool_use_id": "a", "content": "Noon.", **CACHED},
            {"type": "tool_result", "tool_use_id": "b", "content": [words("A"), words("B"), DOT, words("C")]},
            words("And?"),
        ),
        tools=[TOOL],
    )
    assert prompt[1] == Message(
        Role.ASSISTANT, (Text("One moment."), ToolCall("a", "time", '{"zone": "Bern"}'), ToolCall("b", "look"))
    )
    given, more = prompt[2:]
    assert given.role is Role.TOOL
    assert given.parts[:2] == (ToolResult("a", "Noon."), ToolResult("b", "A\n"))
    assert [type(part) for part in given.parts[2:]] == [Text, Image, Text]
    assert more == Message(Role.USER, (Text("And?"),))


@pytest.mark.parametrize(
    ("content", "told"), [("It burns.", "Error: It burns."), (None, "Error:"), ([], "Error:")], ids=str
)
def test_a_call_that_failed_says_so(content, told):
    result = {"type": "tool_result", "tool_use_id": "a", "content": content, "is_error": True}
    assert turns(user(result))[0].parts == (ToolResult("a", told),)


def test_a_result_without_content_is_empty():
    assert turns(user({"type": "tool_result", "tool_use_id": "a"}))[0].parts == (ToolResult("a", ""),)


def test_documents_that_are_text_are_read():
    plain = {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "D"}}
    inner = {"type": "document", "source": {"type": "content", "content": [words("A"), words("B")]}}
    found = {"type": "search_result", "title": "S", "source": "there", "content": [words("C")]}
    [one] = turns(user(plain, inner, found))
    assert one.text == "T\n\nD\nA\nB\nS\nthere\nC"


def test_an_assistants_message_of_thinking_alone_is_none():
    prompt = turns(*HELLO, assistant({"type": "thinking", "thinking": "Hm.", "signature": ""}), *HELLO)
    assert [message.role for message in prompt] == [Role.USER]


@pytest.mark.parametrize(
    ("block", "named"),
    [
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, "file"),
        ({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": ""}}, "base64"),
        ({"type": "document", "source": {"type": "file", "file_id": "f"}}, "file"),
        ({"type": "container_upload", "file_id": "f"}, "container_upload"),
        ({"type": "tool_result", "tool_use_id": "a", "content": [{"type": "tool_reference"}]}, "tool_reference"),
        ({"type": "no word"}, "not known"),
    ],
)
def test_blocks_that_are_not_supported_are_refused_by_name(block, named):
    with pytest.raises(Refused, match=named):
        turns(user(block))


def test_a_word_of_the_clients_own_is_not_said_again():
    with pytest.raises(Refused) as refused:
        turns(user({"type": "hunter2"}))
    assert "hunter2" not in str(refused.value)


def test_an_answer_cannot_be_begun_for_the_model():
    with pytest.raises(Refused, match="continued"):
        turns(*HELLO, {"role": "assistant", "content": "{"})


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        (None, ToolChoice.AUTO),
        ({"type": "auto"}, ToolChoice.AUTO),
        ({"type": "any"}, ToolChoice.REQUIRED),
        ({"type": "none"}, ToolChoice.NONE),
        ({"type": "tool", "name": "time"}, "time"),
    ],
)
def test_tools(choice, found):
    request = asked(tools=[{**TOOL, **CACHED, "type": "custom"}], tool_choice=choice)
    assert request.tools == (Tool("time", "Tells it.", json.dumps(TOOL["input_schema"])),)
    assert request.tool_choice == found


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search_20250305"),
        ({"tools": [{"name": "time"}]}, "input_schema"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "other"}}, "no tool"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "names no function"),
        ({"tool_choice": {"type": "any"}}, "none is given"),
        ({"thinking": {"type": "enabled"}}, "budget_tokens"),
    ],
)
def test_what_contradicts_itself_is_refused(fields, named):
    with pytest.raises(EngineError, match=named):
        asked(**fields)


ENABLED = {"type": "enabled", "budget_tokens": 2000}


@pytest.mark.parametrize(
    ("thinking", "mind", "enabled", "budget"),
    [
        (None, Mind(can_think=True), False, None),
        (None, Mind(can_think=True, unasked=True), True, None),
        ({"type": "disabled"}, Mind(can_think=True, unasked=True), False, None),
        ({"type": "adaptive"}, Mind(can_think=True), True, None),
        (ENABLED, Mind(can_think=True), True, 2000),
        (ENABLED, Mind(), True, None),
    ],
)
def test_thinking(thinking, mind, enabled, budget):
    request = asked(mind, thinking=thinking)
    assert dict(request.template_options)["enable_thinking"] is enabled
    assert request.thinking_budget == budget


@pytest.mark.parametrize(
    ("thinking", "shown"),
    [
        (None, Shown.NONE),
        ({"type": "disabled"}, Shown.NONE),
        ({"type": "adaptive"}, Shown.WHOLE),
        (ENABLED | {"display": "summarized"}, Shown.WHOLE),
        (ENABLED | {"display": "omitted"}, Shown.EMPTY),
    ],
)
def test_what_is_shown_of_thinking(thinking, shown):
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    assert manner_of(body_of(thinking=thinking)) == Manner(shown, False, 100)
    assert manner_of(body_of(thinking=thinking, tool_choice=choice)) == Manner(shown, True, 100)


@pytest.mark.parametrize("place", ["output_config", "output_format"])
def test_a_form(place):
    form = {"type": "json_schema", "schema": SCHEMA}
    request = asked(**{place: {"format": form, "effort": "low"} if place == "output_config" else form})
    assert request.response_format == JsonSchema.of(SCHEMA, strict=True)
    assert dict(request.template_options).get("reasoning_effort") == ("low" if place == "output_config" else None)


def test_a_prompt_that_is_counted_is_the_one_that_is_answered():
    fields = {"messages": HELLO, "system": "Be kind.", "tools": [TOOL], "thinking": ENABLED}
    counted = count_request(CountBody.model_validate(fields), Mind(can_think=True), tenant="someone")
    request = asked(Mind(can_think=True), **fields)
    for name in ("prompt", "tools", "template_options", "tenant"):
        assert getattr(counted, name) == getattr(request, name)
    silent = CountBody.model_validate(fields | {"tool_choice": {"type": "none"}})
    assert count_request(silent, Mind(), tenant="").tools == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 0},
        {"max_tokens": None},
        {"max_tokens": "5"},
        {"max_tokens": 2**31},
        {"messages": []},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": [user({"type": "text"})]},
        {"messages": [user({"text": "no type"})]},
        {"messages": [{"role": "user", "content": "\ud800"}]},
        {"temperature": float("nan")},
        {"temperature": 2.1},
        {"top_p": -0.1},
        {"top_k": -1},
        {"stop_sequences": [""]},
        {"thinking": {"type": "enabled", "budget_tokens": -1}},
        {"thinking": {"type": "sometimes"}},
        {"tool_choice": {"type": "required"}},
        {"stream": "yes"},
    ],
    ids=str,
)
def test_what_is_out_of_range_is_refused(fields):
    with pytest.raises(ValidationError):
        body_of(**fields)


def test_arguments_that_cannot_be_written_are_refused():
    with pytest.raises(Refused, match="JSON"):
        turns(*HELLO, assistant({"type": "tool_use", "id": "a", "name": "t", "input": {"x": float("nan")}}), *HELLO)


def test_fields_that_nobody_knows_are_let_be():
    assert asked(metadata={"user_id": "x"}, service_tier="auto", betas=["x"], context_management={}) == asked()
