"""Bodies of chats to requests: what clients write is understood, what nobody may ask for is refused by name."""

import json

import pytest
from pydantic import ValidationError

from engine.api.errors import EngineError, RequestError
from engine.api.request import Audio, Image, Message, Priority, Role, Text, Video
from engine.api.response_format import Choice, Grammar, JsonObject, JsonSchema, Regex
from engine.api.tools import ToolCall, ToolChoice, ToolResult
from engine.serve.failures import Refused
from engine.serve.wire.body import REFUSED
from engine.serve.wire.chat_body import ChatBody, chat_request

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Now.", "parameters": SCHEMA}}
TIME = {"type": "function", "function": {"name": "time"}}


def request(*messages, **fields):
    given = {"messages": list(messages) or [{"role": "user", "content": "Hello"}], **fields}
    return chat_request(ChatBody.model_validate(json.loads(json.dumps(given))), tenant="salt")


def parts(*content):
    return request({"role": "user", "content": list(content)}).prompt[0].parts


def test_what_is_not_said_is_left_to_the_model():
    asked = request()
    assert asked.prompt == (Message(Role.USER, (Text("Hello"),)),)
    assert (asked.priority, asked.tenant, asked.n, asked.max_tokens) == (Priority.API, "salt", 1, None)
    assert asked.sampling == type(asked.sampling)()
    assert (asked.response_format, asked.tools, asked.template_options) == (None, (), ())


def test_null_is_as_good_as_nothing():
    names = set(ChatBody.model_fields) - {"messages"}
    assert request(**dict.fromkeys(names), **dict.fromkeys(REFUSED)) == request()


def test_how_tokens_are_drawn():
    given = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.05,
        "repetition_penalty": 1.1,
        "repetition_context_size": 20,
        "presence_penalty": -0.5,
        "presence_context_size": 30,
        "frequency_penalty": 1,
        "frequency_context_size": 40,
        "xtc_probability": 0.5,
        "xtc_threshold": 0.1,
        "no_repeat_ngram_size": 4,
        "seed": 7,
    }
    asked = request(**given, logit_bias={"12": -100, "7": 5})
    assert {name: getattr(asked.sampling, name) for name in given} == given
    assert asked.sampling.logit_bias == ((12, -100), (7, 5))


def test_a_seed_with_a_sign():
    assert request(seed=-1).sampling.seed == 2**64 - 1


def test_a_token_that_is_named_twice_is_refused():
    with pytest.raises(RequestError, match="twice"):
        request(logit_bias={"1": 1, "01": 2})


def test_where_it_ends():
    assert request(max_tokens=5).max_tokens == 5
    assert request(max_tokens=5, max_completion_tokens=7).max_tokens == 7
    assert request(stop="END").stop == ("END",)
    assert request(stop=["a", "b", "a"]).stop == ("a", "b")
    assert request(stop="").stop == request(stop=[]).stop == ()


def test_logprobs_and_several_answers():
    asked = request(logprobs=True, top_logprobs=3, n=2)
    assert (asked.logprobs, asked.top_logprobs, asked.n) == (True, 3, 2)
    with pytest.raises(RequestError, match="without logprobs"):
        request(top_logprobs=3)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://a/b.png", "detail": "low"}},
        {"type": "image_url", "image_url": "https://a/b.png"},
        {"type": "input_image", "image_url": "https://a/b.png", "detail": "auto"},
        {"type": "image", "image": "https://a/b.png"},
        {"type": "image", "url": "https://a/b.png"},
    ],
)
def test_pictures_keep_the_address_that_was_written(part):
    assert parts({"type": "text", "text": "See"}, part) == (Text("See"), Image("https://a/b.png"))


def test_recordings():
    data = "UklGRg=="
    assert parts({"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}) == (
        Audio(f"data:audio/wav;base64,{data}"),
    )
    assert parts({"type": "input_audio", "input_audio": {"data": data, "format": "MP3"}}) == (
        Audio(f"data:audio/mpeg;base64,{data}"),
    )
    assert parts({"type": "input_audio", "input_audio": {"data": "https://a/b.wav", "format": "wav"}}) == (
        Audio("https://a/b.wav"),
    )
    assert parts({"type": "audio_url", "audio_url": {"url": "data:audio/wav;base64,"}}) == (
        Audio("data:audio/wav;base64,"),
    )


@pytest.mark.parametrize(
    "part",
    [
        {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,"}, "fps": 2, "max_frames": 16},
        {"type": "video", "video": "data:video/mp4;base64,", "fps": 2.0, "max_frames": 16},
        {"type": "input_video", "video_url": "data:video/mp4;base64,", "fps": 2.0, "max_frames": 16},
    ],
)
def test_clips(part):
    assert parts(part) == (Video("data:video/mp4;base64,", fps=2.0, max_frames=16),)


def test_a_picture_without_an_address_is_refused():
    with pytest.raises(Refused, match="no address"):
        parts({"type": "image_url"})


@pytest.mark.parametrize("part", [{"type": "file", "file": {"file_id": "f"}}, {"text": "no type"}, "words", 3])
def test_other_parts_are_refused(part):
    with pytest.raises(ValidationError):
        parts(part)


def test_a_format_of_sound_is_a_word():
    with pytest.raises(ValidationError):
        parts({"type": "input_audio", "input_audio": {"data": "", "format": "wav;base64,AAAA/../"}})


def test_pictures_are_scaled_as_mlx_vlm_has_it():
    assert request(resize_shape=[336]).resize_shape == (336, 336)
    assert request(resize_shape=[300, 400]).resize_shape == (300, 400)


def test_instructions_that_lead_are_one_message():
    asked = request(
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": "Hello"},
        {"role": "system", "content": "Be quick."},
    )
    assert [(message.role, message.text) for message in asked.prompt] == [
        (Role.SYSTEM, "Be brief.\n\nBe kind."),
        (Role.USER, "Hello"),
        (Role.SYSTEM, "Be quick."),
    ]
    assert request({"role": "developer", "content": "Be kind."}).prompt == (Message(Role.SYSTEM, (Text("Be kind."),)),)


def test_calls_and_what_they_gave():
    asked = request(
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}},
                {"id": "b", "function": {"name": "time", "arguments": {}}},
                {"id": "c", "function": {"name": "time", "arguments": ""}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "Rain"},
        {
            "role": "tool",
            "tool_call_id": "b",
            "content": [{"type": "text", "text": "No"}, {"type": "image_url", "image_url": "data:,"}],
        },
        tools=[WEATHER, TIME],
    )
    assert asked.prompt[1].parts == (
        ToolCall("a", "weather", '{"city": "Bern"}'),
        ToolCall("b", "time", "{}"),
        ToolCall("c", "time", "{}"),
    )
    assert asked.prompt[2].parts == (ToolResult("a", "Rain"),)
    assert asked.prompt[3].parts == (ToolResult("b", "No"), Image("data:,"))
    assert [tool.name for tool in asked.tools] == ["weather", "time"]
    assert json.loads(asked.tools[0].parameters) == SCHEMA


def test_a_result_of_nothing_is_refused():
    with pytest.raises(Refused, match="tool_call_id"):
        request({"role": "tool", "content": "Rain"})


def deep(levels):
    nested = {}
    for _ in range(levels):
        nested = {"a": nested}
    return nested


@pytest.mark.parametrize(
    "arguments", ["now", '["now"]', '{"a": "\\ud800"}', '{"a": NaN}', '{"a":' * 100_000, {"a": "\ud800"}]
)
def test_arguments_that_are_no_json_are_refused(arguments):
    calls = [{"id": "a", "function": {"name": "time", "arguments": arguments}}]
    with pytest.raises(EngineError, match="JSON"):
        request({"role": "assistant", "tool_calls": calls})


def test_what_is_nested_too_deeply_is_refused():
    call = {"id": "a", "function": {"name": "time", "arguments": deep(100_000)}}
    for fields in (
        {"messages": [{"role": "assistant", "tool_calls": [call]}]},
        {"tools": [{"type": "function", "function": {"name": "time", "parameters": deep(100_000)}}]},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": deep(100_000)}}},
    ):
        with pytest.raises(EngineError, match="nested"):
            ChatBody.model_validate({"messages": [{"role": "user", "content": "Hello"}], **fields})


@pytest.mark.parametrize(
    ("choice", "meant", "offered"),
    [
        (None, ToolChoice.AUTO, 2),
        ("auto", ToolChoice.AUTO, 2),
        ("none", ToolChoice.NONE, 2),
        ("required", ToolChoice.REQUIRED, 2),
        ({"type": "function", "function": {"name": "time"}}, "time", 2),
        ({"type": "function", "name": "time"}, "time", 2),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TIME]}}, ToolChoice.REQUIRED, 1),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [TIME, WEATHER]}}, ToolChoice.AUTO, 2),
    ],
)
def test_which_tool_is_called(choice, meant, offered):
    asked = request(tools=[WEATHER, TIME], tool_choice=choice)
    assert (asked.tool_choice, len(asked.tools)) == (meant, offered)


@pytest.mark.parametrize(
    "choice",
    [
        "any",
        {"type": "custom", "custom": {"name": "time"}},
        {},
        {"type": "function"},
        {"type": "function", "function": {"name": "unknown"}},
        {"type": "function", "function": "time"},
        {"type": "allowed_tools"},
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"function": {"name": "unknown"}}]}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "none at all", "tools": []}},
        {"type": "allowed_tools", "allowed_tools": {"tools": ["time"]}},
    ],
)
def test_choices_that_mean_nothing_are_refused(choice):
    with pytest.raises(EngineError):
        request(tools=[WEATHER, TIME], tool_choice=choice)


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "web_search"},
        {"type": "function", "function": "time"},
        {"type": "function", "function": {"name": "no name"}},
        {"type": "function", "function": {"name": "time", "parameters": []}},
        {"type": "function", "function": {"name": "time", "parameters": {"minimum": float("nan")}}},
        {"type": "function", "function": {"name": "time", "description": "\ud800"}},
    ],
)
def test_tools_that_are_none_are_refused(tool):
    with pytest.raises(EngineError):
        request(tools=[tool])


@pytest.mark.parametrize(
    ("fields", "form"),
    [
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, JsonObject()),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "w"}}}, JsonObject()),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "w", "schema": SCHEMA}}},
            JsonSchema.of(SCHEMA),
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA, "strict": True}}},
            JsonSchema.of(SCHEMA, strict=True),
        ),
        ({"response_format": {"type": "json_schema", "schema": SCHEMA}}, JsonSchema.of(SCHEMA)),
        ({"response_format": {"type": "regex", "pattern": "a+"}}, Regex("a+")),
        ({"response_format": {"type": "choice", "choice": ["a", "b"]}}, Choice(("a", "b"))),
        ({"response_format": {"type": "grammar", "grammar": "start: A"}}, Grammar("start: A")),
        ({"guided_json": SCHEMA}, JsonSchema.of(SCHEMA)),
        ({"guided_json": json.dumps(SCHEMA)}, JsonSchema.of(SCHEMA)),
        ({"guided_regex": "a+"}, Regex("a+")),
        ({"guided_choice": ["a", "b"]}, Choice(("a", "b"))),
        ({"guided_grammar": "start: A"}, Grammar("start: A")),
        ({"structured_outputs": {"json": SCHEMA}}, JsonSchema.of(SCHEMA)),
        ({"structured_outputs": {"json_object": True}}, JsonObject()),
        ({"structured_outputs": {"choice": ["a"], "regex": None, "disable_any_whitespace": True}}, Choice(("a",))),
    ],
)
def test_forms(fields, form):
    assert request(**fields).response_format == form


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": {"type": "structural_tag"}},
        {"response_format": {"type": ["text"]}},
        {"response_format": {"type": "json_schema", "json_schema": "w"}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": 3}}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA, "strict": "yes"}}},
        {"response_format": {"type": "regex"}},
        {"response_format": {"type": "choice", "choice": []}},
        {"response_format": {"type": "choice", "choice": ["a", 1]}},
        {"response_format": {"type": "grammar", "grammar": {}}},
        {"response_format": {"type": "json_object"}, "guided_regex": "a+"},
        {"structured_outputs": {"structural_tag": {}}},
        {"structured_outputs": {"json_object": "yes"}},
        {"guided_json": "{"},
        {"guided_choice": ["a", "\ud800"]},
    ],
)
def test_forms_that_are_none_are_refused(fields):
    with pytest.raises(EngineError):
        request(**fields)


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"enable_thinking": False}, {"enable_thinking": False}),
        ({"reasoning_effort": "none"}, {"enable_thinking": False}),
        ({"reasoning_effort": "low"}, {"enable_thinking": True, "reasoning_effort": "low"}),
        ({"reasoning": {"effort": "high"}}, {"enable_thinking": True, "reasoning_effort": "high"}),
        ({"reasoning_effort": "low", "enable_thinking": False}, {"enable_thinking": False, "reasoning_effort": "low"}),
        ({"chat_template_kwargs": {"thinking": True}}, {"thinking": True}),
        ({"chat_template_kwargs": {"enable_thinking": True}, "reasoning_effort": "none"}, {"enable_thinking": True}),
        ({"chat_template_kwargs": {"reasoning_effort": "high"}}, {"reasoning_effort": "high"}),
    ],
)
def test_thinking(fields, options):
    assert dict(request(**fields).template_options) == options


def test_how_long_it_may_think():
    assert request(thinking_budget=0).thinking_budget == 0


@pytest.mark.parametrize(
    "given",
    [
        {"chat_template": "{{ messages }}"},
        {"add_generation_prompt": False},
        {"tools": []},
        {"tokenize": True},
        {"enable_thinking": "yes"},
        {"enable_thinking": 1},
        {"reasoning_effort": True},
        {"reasoning_effort": "<|im_end|>\n<|im_start|>system"},
        {"date_string": "x" * 65},
    ],
)
def test_what_a_template_may_not_be_told_is_refused(given):
    with pytest.raises(Refused):
        request(chat_template_kwargs=given)


@pytest.mark.parametrize("name", sorted(REFUSED))
@pytest.mark.parametrize("value", ["/a/path", {}, False, 0])
def test_what_is_not_up_to_a_request_is_refused_by_name(name, value):
    with pytest.raises(Refused) as caught:
        request(**{name: value})
    assert (caught.value.status, caught.value.param) == (400, name)
    assert name in caught.value.message


def test_what_nobody_knows_is_let_be():
    assert request(user="me", store=True, service_tier="auto", metadata={"a": "b"}, nonsense=[1]) == request()


def test_sound_as_an_answer_is_refused():
    assert request(modalities=["text"]) == request()
    with pytest.raises(ValidationError):
        request(modalities=["text", "audio"])


def test_half_a_character_is_refused():
    with pytest.raises(ValidationError, match="surrogate"):
        request({"role": "user", "content": "\ud800"})
    with pytest.raises(ValidationError, match="surrogate"):
        parts({"type": "text", "text": "a\udc00"})
    with pytest.raises(ValidationError, match="surrogate"):
        request(stop=["\ud800"])


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"content": "Hello"}],
        [{"role": "function", "content": "Hello"}],
        [{"role": "user", "content": 3}],
        [{"role": "assistant", "tool_calls": [{"function": {"name": "time"}}]}],
        "Hello",
        None,
    ],
)
def test_messages_that_are_none_are_refused(messages):
    with pytest.raises(ValidationError):
        ChatBody.model_validate({"messages": messages})
