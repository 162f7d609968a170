"""Conversations with tools in them: each template gets calls and results in the shape that it can read."""

import json

import pytest

from engine.api.errors import RequestError
from engine.api.request import GenerateRequest, Image, Message, Role, Text
from engine.api.settings import MediaLimits
from engine.api.tools import Tool, ToolCall, ToolChoice, ToolResult
from engine.run.media import MediaReader
from engine.run.prompt import PromptBuilder
from engine.run.template import ChatTemplate
from engine.run.turns import Shape, turns_of

CLOCK = Tool("get_time", "Tells the time.", '{"type": "object", "properties": {"zone": {"type": "string"}}}')
CALL = ToolCall("id1234567", "get_time", '{"zone": "ü"}')
TALK = (
    Message(Role.USER, (Text("When?"),)),
    Message(Role.ASSISTANT, (CALL,)),
    Message(Role.TOOL, (ToolResult(CALL.id, "noon"),)),
)


def template_of(content, arguments):
    """One that writes `content` of each message and `arguments` of each call."""
    return (
        "{% for m in messages %}<{{ m.role }}>" + content + "{% for call in m.tool_calls or [] %}"
        "{{ call.function.name }}" + arguments + "{% endfor %}{% endfor %}"
    )


TEXT = "{{ m.content }}"
PARTS = "{% for p in m.content %}{{ p.text }}{% endfor %}"
JSON = "{{ call.function.arguments | tojson }}"


@pytest.fixture
def tokenizer(tiny_llama):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_llama)


def rendered(tokenizer, template, messages=TALK, tools=(), **options):
    tokenizer.chat_template = template
    return ChatTemplate(tokenizer, None, "<image>").render(messages, options, tools)


@pytest.mark.parametrize(
    "template",
    [
        pytest.param(template_of(TEXT, JSON), id="objects"),
        pytest.param(template_of(TEXT, "{{ '' + call.function.arguments }}"), id="text"),
        pytest.param(template_of(TEXT, "{{ call.function.arguments }}"), id="printed"),
        pytest.param(template_of(PARTS, JSON), id="parts"),
        pytest.param(
            template_of("{% if m.role != 'user' %}{{ m.content }}{% else %}" + PARTS + "{% endif %}", JSON), id="both"
        ),
        pytest.param(template_of("{% if m.content is defined %}" + TEXT + "{% endif %}", JSON), id="defined"),
        pytest.param(
            "{% for m in messages %}<{{ m.role }}>{% if m.content is defined %}{{ m.content }}{% else %}"
            "{% set call = m.tool_calls[0].function %}"
            "{{ call.name }}{{ call.arguments | tojson }}{% endif %}{% endfor %}",
            id="one or the other",
        ),
    ],
)
def test_each_template_gets_what_it_can_read(tokenizer, template):
    assert rendered(tokenizer, template) == '<user>When?<assistant>get_time{"zone": "ü"}<tool>noon'


def test_a_pythonic_template_is_taken_as_it_is(tokenizer):
    template = template_of(
        TEXT, "({% for name, value in call.function.arguments.items() %}{{ name }}='{{ value }}'{% endfor %})"
    )
    assert rendered(tokenizer, template) == "<user>When?<assistant>get_time(zone='ü')<tool>noon"


def test_ids_and_names_reach_the_template(tokenizer):
    template = template_of(TEXT, JSON + "{{ call.id }}{{ call.type }}").replace(
        "<{{ m.role }}>", "<{{ m.role }} {{ m.tool_call_id }} {{ m.name }}>"
    )
    assert rendered(tokenizer, template).endswith('{"zone": "ü"}id1234567function<tool id1234567 get_time>noon')


def test_tools_reach_the_template_in_openais_shape(tokenizer):
    shape = {"name": "get_time", "description": "Tells the time.", "parameters": json.loads(CLOCK.parameters)}
    text = rendered(tokenizer, "{{ tools | tojson }}{{ messages[0].content }}", TALK[:1], (CLOCK,))
    assert text == json.dumps([{"type": "function", "function": shape}]) + "When?"


def test_a_template_of_its_own_for_tools(tokenizer):
    named = {
        "default": "plain {{ messages[0].content }}",
        "tool_use": "{{ tools[0].function.name }} {{ messages[0].content }}",
    }
    assert rendered(tokenizer, named, TALK[:1], (CLOCK,)) == "get_time When?"
    assert rendered(tokenizer, named, TALK[:1]) == "plain When?"


@pytest.mark.parametrize("template", ["{{ messages[0].content }}", None])
def test_a_template_without_tools_refuses_them(tokenizer, template):
    with pytest.raises(RequestError, match="knows no tools"):
        rendered(tokenizer, template, TALK[:1], (CLOCK,))
    with pytest.raises(RequestError, match="knows no calls of tools"):
        rendered(tokenizer, template)


def test_a_template_that_loses_results_refuses_calls(tokenizer):
    template = template_of("{% if m.role != 'tool' %}{{ m.content }}{% endif %}", JSON)
    with pytest.raises(RequestError, match="knows no calls of tools"):
        rendered(tokenizer, template)


def test_several_calls_and_results_are_turns_of_their_own():
    other = ToolCall("id2", "get_day")
    message = Message(Role.TOOL, (ToolResult(CALL.id, "noon"), Image("x.png"), ToolResult("id2", "Monday")))
    talk = (Message(Role.ASSISTANT, (Text("Hm."), CALL, other)), message)
    calling, first, second = turns_of(talk, Shape(True, {}))
    assert calling["content"] == [{"type": "text", "text": "Hm."}]
    assert [call["id"] for call in calling["tool_calls"]] == [CALL.id, "id2"]
    assert first["content"] == [{"type": "text", "text": "noon"}, {"type": "image"}]
    assert (second["tool_call_id"], second["name"], second["content"]) == ("id2", "get_day", "Monday")


def test_whether_to_think_has_other_names(tokenizer):
    granite = "{%- if thinking %}on{% else %}off{% endif %}{{ messages[0].content }}"
    assert rendered(tokenizer, granite, TALK[:1], enable_thinking=True) == "onWhen?"
    assert rendered(tokenizer, granite, TALK[:1], enable_thinking=True, thinking=False) == "offWhen?"
    both = "{{ enable_thinking }} {% if thinking is defined %}too{% endif %}"
    assert rendered(tokenizer, both, TALK[:1], enable_thinking=True) == "True "


class Squares:
    """A processor whose pictures take one place."""

    marker = "<image>"

    def __init__(self, tokenizer):
        self.slot_id = tokenizer.convert_tokens_to_ids("<image>")


def build(tokenizer, request):
    tokenizer.chat_template = "{{ tools | tojson }}" + template_of(TEXT, JSON)
    reader = MediaReader(Squares(tokenizer), None, MediaLimits())
    template = ChatTemplate(tokenizer, None, *reader.markers)
    *_, prompt = PromptBuilder(tokenizer, template, reader).build(request)
    return prompt


def test_markers_in_tools_calls_and_results_stay_text(tokenizer):
    tool = Tool("look", "Looks at <image>.", '{"type": "object", "title": "<image>"}')
    talk = (
        Message(Role.USER, (Text("Go"),)),
        Message(Role.ASSISTANT, (ToolCall("1", "look", '{"at": "<image>"}'),)),
        Message(Role.TOOL, (ToolResult("1", "An <image>"),)),
    )
    prompt = build(tokenizer, GenerateRequest(talk, tools=(tool,)))
    assert prompt.slots.size == 0
    assert Squares(tokenizer).slot_id not in prompt.token_ids
    text = tokenizer.decode(prompt.token_ids)
    assert text.count("<image>") == 4
    assert text.endswith('<assistant>look{"at": "<image>"}<tool>An <image>')


def test_who_may_not_call_tools_is_not_told_of_them(tokenizer):
    request = GenerateRequest(TALK[:1], tools=(CLOCK,), tool_choice=ToolChoice.NONE)
    assert build(tokenizer, request).text == "null<user>When?"


@pytest.mark.parametrize("choice", [ToolChoice.REQUIRED, "get_time"])
def test_who_has_to_call_a_tool_is_told_of_all(tokenizer, choice):
    tools = (CLOCK, Tool("look"))
    required = build(tokenizer, GenerateRequest(TALK[:1], tools=tools, tool_choice=choice))
    assert required.text == build(tokenizer, GenerateRequest(TALK[:1], tools=tools)).text
    assert "look" in required.text
