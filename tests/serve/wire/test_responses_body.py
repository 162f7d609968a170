"""What OpenAI's clients send to `/v1/responses`, as the engine is asked, and as it is kept."""

import pytest
from openai.types.responses import ResponseItem, ResponseItemList
from pydantic import TypeAdapter, ValidationError

from engine.api.errors import EngineError
from engine.api.request import Audio, Image, Message, Priority, Role, Text
from engine.api.response_format import JsonObject, JsonSchema
from engine.api.tools import ToolCall, ToolChoice, ToolResult
from engine.serve.failures import Refused
from engine.serve.wire.item_page import PageQuery, page_of
from engine.serve.wire.responses import input_tokens_request, responses_request
from engine.serve.wire.responses_body import PromptBody, ResponsesBody
from engine.serve.wire.responses_items import given_items, kept_items, read_items

TOOL = {"type": "function", "name": "time", "description": None, "parameters": {"type": "object"}, "strict": True}
PICTURE = {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"}
ANSWERED = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hi.", "annotations": [], "logprobs": []}],
}


def find(name):
    return {"msg_1": ANSWERED}[name]


def read(**fields):
    return ResponsesBody.model_validate({"model": "some/model", "input": "Hello"} | fields)


def asked(before=(), **fields):
    body = read(**fields)
    return responses_request(body, [*read_items(before), *given_items(body.input, find)], tenant="someone")


def turns(*items, **fields):
    return asked(input=list(items), **fields).prompt


def kept(*items):
    return kept_items(given_items(read(input=list(items)).input, find), "5eed")


def user(*parts):
    return {"role": "user", "content": list(parts)}


def words(text):
    return {"type": "input_text", "text": text}


def test_a_question():
    request = asked(max_output_tokens=7, temperature=0, top_p=0.5)
    assert request.prompt == (Message(Role.USER, (Text("Hello"),)),)
    assert (request.max_tokens, request.sampling.temperature, request.sampling.top_p) == (7, 0, 0.5)
    assert (request.tenant, request.priority, request.logprobs) == ("someone", Priority.API, False)


def test_instructions_that_follow_one_another_are_one():
    prompt = turns(
        {"role": "developer", "content": "B"}, {"role": "system", "content": [words("C")]}, user(words("D")),
        instructions="A",
    )  # fmt: skip
    assert prompt == (Message(Role.SYSTEM, (Text("A\n\nB\n\nC"),)), Message(Role.USER, (Text("D"),)))


def test_parts():
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    [message] = turns(user(words("Look"), PICTURE, sound))
    assert message.parts == (
        Text("Look"),
        Image("data:image/png;base64,AAAA"),
        Audio("data:audio/wav;base64,AAAA"),
    )


def test_a_call_and_what_it_gave():
    prompt = turns(
        user(words("When?")),
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
        ANSWERED,
        {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "time", "arguments": "{}"},
        {"type": "function_call", "call_id": "b", "name": "look", "arguments": '{"x": 1}', "status": "completed"},
        {"type": "function_call_output", "call_id": "a", "output": "Noon."},
        {"type": "function_call_output", "call_id": "b", "output": [words("See."), PICTURE]},
    )
    assert [message.role for message in prompt] == [Role.USER, Role.ASSISTANT, Role.TOOL]
    assert prompt[1].parts == (Text("Hi."), ToolCall("a", "time"), ToolCall("b", "look", '{"x": 1}'))
    assert prompt[2].parts == (
        ToolResult("a", "Noon."),
        ToolResult("b", "See."),
        Image("data:image/png;base64,AAAA"),
    )


def test_a_conversation_goes_on():
    prompt = asked(before=[*kept(user(words("Hi"))), ANSWERED], instructions="Be kind.").prompt
    assert [message.text for message in prompt] == ["Be kind.", "Hi", "Hi.", "Hello"]


def test_an_item_by_its_id():
    assert turns(user(words("Hi")), {"type": "item_reference", "id": "msg_1"}, user(words("And?")))[1].text == "Hi."


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"input": [{"type": "web_search_call", "id": "x"}]}, "web_search_call"),
        ({"input": [user({"type": "input_file", "file_id": "x"})]}, "input_file"),
        ({"input": [user({"type": "input_image", "file_id": "x"})]}, "no address"),
        ({"input": [{"type": "function_call", "call_id": "a", "name": "t", "arguments": "no"}]}, "not JSON"),
        ({"tools": [{"type": "web_search"}]}, "web_search"),
        ({"tools": [{"type": "custom", "name": "x"}]}, "custom"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "other"}}, "no tool"),
        ({"tools": [TOOL], "tool_choice": {"type": "file_search"}}, "not known"),
        ({"tool_choice": "required"}, "none is given"),
        ({"text": {"format": {"type": "poem"}}}, "not known"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(fields, named):
    with pytest.raises(EngineError, match=named):
        asked(**fields)


@pytest.mark.parametrize(
    ("choice", "tools", "found"),
    [
        (None, 2, ToolChoice.AUTO),
        ("auto", 2, ToolChoice.AUTO),
        ("required", 2, ToolChoice.REQUIRED),
        ("none", 2, ToolChoice.NONE),
        ({"type": "function", "name": "time"}, 2, "time"),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "look"}]},
            1,
            ToolChoice.REQUIRED,
        ),
    ],
)
def test_tools(choice, tools, found):
    request = asked(tools=[TOOL, TOOL | {"name": "look", "defer_loading": False}], tool_choice=choice)
    assert (len(request.tools), request.tool_choice) == (tools, found)


@pytest.mark.parametrize(
    ("form", "found"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, JsonObject()),
        (
            {"type": "json_schema", "name": "x", "schema": {"type": "object"}, "strict": True},
            JsonSchema.of({"type": "object"}, strict=True),
        ),
    ],
)
def test_a_form(form, found):
    assert asked(text={"format": form, "verbosity": "low"}).response_format == found


@pytest.mark.parametrize(
    ("effort", "options"),
    [
        (None, {}),
        ("none", {"enable_thinking": False}),
        ("high", {"enable_thinking": True, "reasoning_effort": "high"}),
    ],
)
def test_thinking(effort, options):
    assert dict(asked(reasoning={"effort": effort, "summary": "auto"}).template_options) == options


@pytest.mark.parametrize(
    ("fields", "told", "most"),
    [
        ({"include": ["message.output_text.logprobs"]}, True, 0),
        ({"include": ["message.output_text.logprobs"], "top_logprobs": 2}, True, 2),
        ({"top_logprobs": 2}, True, 2),
        ({"top_logprobs": 0, "include": ["reasoning.encrypted_content"]}, False, 0),
    ],
)
def test_log_probabilities(fields, told, most):
    request = asked(**fields)
    assert (request.logprobs, request.top_logprobs) == (told, most)


def test_a_prompt_that_is_counted_is_the_one_that_is_answered():
    fields = {"input": "Hello", "instructions": "Be kind.", "tools": [TOOL], "reasoning": {"effort": "low"}}
    body = PromptBody.model_validate(fields)
    counted = input_tokens_request(body, given_items(body.input, find), tenant="someone")
    request = asked(**fields)
    for name in ("prompt", "tools", "template_options", "tenant"):
        assert getattr(counted, name) == getattr(request, name)


@pytest.mark.parametrize(
    "fields",
    [
        {"input": ""},
        {"input": []},
        {"input": None},
        {"input": [{"role": "tool", "content": "x"}]},
        {"input": ["x"]},
        {"input": [user({"type": "input_text"})]},
        {"input": "\ud800"},
        {"max_output_tokens": 0},
        {"max_output_tokens": 2**31},
        {"temperature": float("nan")},
        {"temperature": 2.1},
        {"top_p": "1"},
        {"top_logprobs": 21},
        {"metadata": {str(number): "" for number in range(17)}},
        {"metadata": {"x" * 65: ""}},
        {"metadata": {"x": "y" * 513}},
        {"truncation": "sometimes"},
        {"store": "yes"},
        {"reasoning": {"effort": "heroic"}},
    ],
    ids=lambda fields: str(fields)[:40],
)
def test_what_is_out_of_range_is_refused(fields):
    with pytest.raises(ValidationError):
        read(**fields)


def test_fields_that_nobody_knows_are_let_be():
    extra = {
        "user": "x",
        "service_tier": "auto",
        "safety_identifier": "x",
        "stream_options": {},
        "prompt_cache_key": "x",
    }
    assert asked(**extra) == asked()


def test_items_are_kept_in_openais_shapes_and_read_again():
    items = kept(
        user(words("Look"), PICTURE),
        {"role": "developer", "content": "Be kind."},
        {"role": "assistant", "content": "Hi."},
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "call_id": "a", "name": "time", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "Noon."},
        {"type": "function_call_output", "call_id": "a", "output": [words("Noon."), PICTURE]},
        ANSWERED,
    )
    one = TypeAdapter(ResponseItem)
    for item in items:
        one.validate_python(item)
    assert [item["id"] for item in items] == [
        *("msg_5eed_in0", "msg_5eed_in1", "msg_5eed_in2", "rs_5eed_in3"),
        *("fc_5eed_in4", "fco_5eed_in5", "fco_5eed_in6", "msg_1"),
    ]
    assert kept_items(read_items(items), "other") == items


def test_pages():
    items = [{"id": f"msg_{number}", "type": "message", "role": "user", "content": []} for number in range(5)]
    pages, after = [], None
    while True:
        page = page_of(items, PageQuery(limit=2, after=after))
        ResponseItemList.model_validate(page)
        pages.append([item["id"] for item in page["data"]])
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert pages == [["msg_4", "msg_3"], ["msg_2", "msg_1"], ["msg_0"]]
    assert page_of(items, PageQuery(order="asc"))["first_id"] == "msg_0"
    assert page_of([], PageQuery())["has_more"] is False
    with pytest.raises(Refused, match="after"):
        page_of(items, PageQuery(after="msg_9"))
