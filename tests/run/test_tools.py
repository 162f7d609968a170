"""Calls of tools: read out of an answer in a model's own way of writing, never shown as text and never lost."""

import importlib
import json
import random

import pytest

from engine.api.errors import RequestError
from engine.api.request import GenerateRequest, Message, RenderedPrompt, Role, Text
from engine.api.response_format import JsonSchema
from engine.api.tools import Tool, ToolCall, ToolChoice, ToolResult
from engine.constrain.thinking_markers import ThinkingMarkers
from engine.run.answer import AnswerForm
from engine.run.text import Piece, TextStream
from engine.run.tools import CUT, NO_FORMAT, STRANGE, UNREADABLE, Call, CallReader, ToolFormat

WEATHER = Tool(
    "get_weather",
    "The weather somewhere.",
    '{"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}',
)
CLOCK = Tool("get_time")
PARIS = '{"city": "Paris", "days": 2}'
WRITTEN = {
    "json_tools": f'<tool_call>\n{{"name": "get_weather", "arguments": {PARIS}}}\n</tool_call>',
    "qwen3_coder": "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n2\n"
    "</parameter>\n</function>\n</tool_call>",
    "glm47": "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Paris</arg_value>"
    "<arg_key>days</arg_key><arg_value>2</arg_value></tool_call>",
    "gemma4": '<|tool_call>call:get_weather{city:<|"|>Paris<|"|>,days:2}<tool_call|>',
    "pythonic": '<|tool_call_start|>[get_weather(city="Paris", days=2)]<|tool_call_end|>',
    "minimax_m2": '<minimax:tool_call><invoke name="get_weather"><parameter name="city">Paris</parameter>'
    '<parameter name="days">2</parameter></invoke></minimax:tool_call>',
    "mistral": f"[TOOL_CALLS]get_weather[ARGS]{PARIS}",
    "kimi_k2": "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>"
    f"{PARIS}<|tool_call_end|><|tool_calls_section_end|>",
    "longcat": f'<longcat_tool_call>{{"name": "get_weather", "arguments": {PARIS}}}</longcat_tool_call>',
}
HERMES = WRITTEN["json_tools"]


class Pieces:
    """A detokenizer whose tokens are pieces of a given text."""

    def __init__(self, pieces):
        self._pieces = pieces
        self.last_segment = ""

    def add_token(self, token):
        self.last_segment = self._pieces[token]

    def finalize(self):
        self.last_segment = ""


def form(name):
    module = importlib.import_module(f"mlx_lm.tool_parsers.{name}")
    return ToolFormat(module.tool_call_start, module.tool_call_end, module.parse_tool_call)


class Answer:
    """`text` streamed letter by letter, or in `pieces`, to its end or, not `complete`, cut off there."""

    def __init__(self, text, name="json_tools", *, pieces=None, stop=(), thinking=None, complete=True, held=False):
        pieces = list(text) if pieces is None else pieces
        reader = CallReader(form(name), (WEATHER, CLOCK))
        stream = TextStream(Pieces(pieces), stop, thinking, reader, held=held)
        shown = [piece for token in range(len(pieces)) for piece in stream.push(token)]
        shown += stream.finish(complete=complete)
        self.text = "".join(piece.text for piece in shown if isinstance(piece, Piece) and not piece.thinking)
        self.thinking = "".join(piece.text for piece in shown if isinstance(piece, Piece) and piece.thinking)
        self.calls = [piece for piece in shown if isinstance(piece, Call)]
        self.called, self.notes, self.stopped = stream.called, stream.notes, stream.stopped
        self.thinking_tokens = stream.thinking_tokens

    @property
    def asked(self):
        return [(call.name, json.loads(call.arguments)) for call in self.calls]


ASKED = ("get_weather", {"city": "Paris", "days": 2})


@pytest.mark.parametrize("name", WRITTEN)
def test_a_call_is_read_in_each_way_of_writing(name):
    answer = Answer(f"Let me look.\n{WRITTEN[name]}", name)
    assert answer.asked == [ASKED]
    assert answer.text == "Let me look."
    assert answer.called
    assert answer.notes == ()


@pytest.mark.parametrize("seed", range(20))
def test_however_a_call_is_cut_into_tokens_it_is_the_same(seed):
    whole = f"Well <tool> {HERMES}\n{HERMES}"
    rng = random.Random(seed)
    cuts = sorted(rng.sample(range(1, len(whole)), rng.randint(1, 30)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    answer = Answer(whole, pieces=pieces)
    assert (answer.text, answer.asked) == ("Well <tool>", [ASKED, ASKED])


def test_several_calls_are_numbered_and_each_has_an_id_of_its_own():
    answer = Answer(f"{HERMES}\n<tool_call>get_time</tool_call>\n{HERMES}")
    assert [call.index for call in answer.calls] == [0, 1]
    assert len({call.id for call in answer.calls}) == 2
    assert all(len(call.id) == 9 and call.id.isalnum() for call in answer.calls)
    assert answer.text.strip() == "<tool_call>get_time</tool_call>"
    assert answer.notes == (UNREADABLE,)


def test_several_calls_in_one_block():
    block = f'[{{"name": "get_time"}}, {{"name": "get_weather", "arguments": {PARIS}}}]'
    answer = Answer(f"<tool_call>{block}</tool_call>{HERMES}")
    assert answer.asked == [("get_time", {}), ASKED, ASKED]
    assert [call.index for call in answer.calls] == [0, 1, 2]


def test_space_within_a_later_call_is_kept():
    call = '<tool_call>{"name": "get_weather", "arguments": {"city": "a  b \\n c"}}</tool_call>'
    assert Answer(HERMES + call).asked == [ASKED, ("get_weather", {"city": "a  b \n c"})]


def test_a_models_own_ids_are_kept():
    assert Answer(WRITTEN["kimi_k2"], "kimi_k2").calls[0].id == "functions.get_weather:0"


def test_text_after_a_call_is_text():
    answer = Answer(f"{HERMES}\n\nIs that all?")
    assert (answer.asked, answer.text) == ([ASKED], "\n\nIs that all?")


def test_space_around_calls_is_no_text_but_what_only_looked_like_a_call_keeps_it():
    assert Answer(f"\n\n{HERMES}\n{HERMES}\n").text == ""
    assert Answer("one \n <tool", complete=False).text == "one \n <tool"
    assert Answer("one \n <tool_call>no</tool_call> two").text == "one \n <tool_call>no</tool_call> two"


GARBAGE = {
    "json_tools": ["", "{", '{"name": 3}', '"text"', '{"name": "get_time", "arguments": [1]}', "[]", "NaN", "[" * 9999],
    "qwen3_coder": ["hello", "<function=get_weather><parameter=days>\ntwo\n</parameter></function>"],
    "glm47": ["what is this", "<arg_key>city</arg_key>"],
    "gemma4": ["call:get_weather{city:}", "call:"],
    "pythonic": ["get_weather", "[x(a=" + "(" * 500],
    "longcat": ["nothing to see"],
    "kimi_k2": ["<|tool_call_begin|>x<|tool_call_end|>"],
    "minimax_m2": ["<invoke>"],
}


@pytest.mark.parametrize(("name", "garbage"), [(name, text) for name, texts in GARBAGE.items() for text in texts])
def test_what_cannot_be_read_is_handed_back_as_text_with_a_note(name, garbage):
    words = form(name)
    whole = f"Look: {words.start}{garbage}{words.end} Sorry."
    answer = Answer(whole, name)
    assert answer.text == whole
    assert not answer.calls
    assert not answer.called
    assert len(answer.notes) == 1


def test_arguments_that_are_no_json_are_no_call():
    text = '<tool_call>{"name": "get_weather", "arguments": {"days": Infinity}}</tool_call>'
    assert Answer(text).text == text


def test_a_tool_that_was_not_offered_is_not_called():
    text = '<tool_call>{"name": "rm", "arguments": {}}</tool_call>'
    answer = Answer(text)
    assert (answer.text, answer.calls) == (text, [])
    assert answer.notes == (STRANGE.format("rm"),)


def test_arguments_given_as_text_are_an_object_all_the_same():
    text = json.dumps({"name": "get_weather", "arguments": PARIS})
    assert Answer(f"<tool_call>{text}</tool_call>").asked == [ASKED]


@pytest.mark.parametrize("name", WRITTEN)
def test_a_call_cut_by_the_limit_is_text_wherever_it_is_cut(name):
    words, whole = form(name), WRITTEN[name]
    for size in range(len(words.start), len(whole) - len(words.end)):
        answer = Answer(whole[:size], name, complete=False)
        assert (answer.text, answer.calls) == (whole[:size], [])
        assert answer.notes == (CUT,)


def test_of_calls_without_an_end_only_the_last_is_cut():
    whole = WRITTEN["mistral"]
    answer = Answer(whole + whole[:-3], "mistral", complete=False)
    assert (answer.asked, answer.text) == ([ASKED], whole[:-3])


def test_a_call_that_the_model_forgot_to_close_is_a_call():
    assert Answer(HERMES.removesuffix("</tool_call>")).asked == [ASKED]


def test_a_stop_string_in_a_call_does_not_cut_it():
    answer = Answer(f"Hm {HERMES} and Paris", stop=("Paris",))
    assert answer.asked == [ASKED]
    assert answer.text == "Hm and "
    assert answer.stopped


def test_a_stop_string_before_a_call_ends_the_answer():
    answer = Answer(f"STOP {HERMES}", stop=("STOP",))
    assert (answer.text, answer.calls, answer.stopped) == ("", [], True)


THINK = ThinkingMarkers("<think>", "</think>", open=True)


def test_a_call_after_thinking():
    answer = Answer(f"I need it.</think>\n\n{HERMES}", thinking=THINK)
    assert (answer.thinking, answer.text, answer.asked) == ("I need it.", "", [ASKED])


def test_a_call_within_thinking_is_a_call():
    answer = Answer(f"I need it. {HERMES}", thinking=THINK)
    assert (answer.thinking, answer.text, answer.asked) == ("I need it. ", "", [ASKED])


def test_thinking_about_calls_is_thinking():
    thought = "Shall I write <tool_call>? No."
    answer = Answer(f"{thought}</think>Hello.", thinking=THINK)
    assert (answer.thinking, answer.text, answer.calls) == (thought, "Hello.", [])
    assert answer.notes == ()
    assert answer.thinking_tokens == len(thought)


@pytest.fixture(scope="module")
def tokenizer(tiny_llama):
    from engine.loading.tokenizer import load_tokenizer

    return load_tokenizer(tiny_llama, ())


class Wrapper:
    """A tokenizer with a way of writing calls, as mlx-lm's wrapper tells it."""

    def __init__(self, tokenizer, found=None, control=()):
        self._tokenizer = tokenizer
        self.has_tool_calling = found is not None
        self.tool_call_start, self.tool_call_end = (found.start, found.end) if found else (None, None)
        self.tool_parser = found and found.parse
        self.all_special_ids = control

    def __getattr__(self, name):
        return getattr(self._tokenizer, name)


def read(wrapper, text, template="", **options):
    stream = AnswerForm(wrapper, template).stream(GenerateRequest((), **options), "")
    tokens = wrapper.encode(text, add_special_tokens=False)
    return [piece for token in tokens for piece in stream.push(token)] + stream.finish(), stream


def test_a_models_answer_is_read_token_by_token(tokenizer):
    pieces, stream = read(Wrapper(tokenizer, form("json_tools")), f"Grüß! {HERMES}", tools=(WEATHER,))
    assert "".join(piece.text for piece in pieces[:-1]) == "Grüß!"
    assert pieces[-1].name == "get_weather"
    assert stream.called


def test_control_tokens_are_text_within_a_call_only(tokenizer):
    # As Mistral's and Gemma's are: the markers, and words between them, are control tokens.
    start, quote, other = (tokenizer.convert_tokens_to_ids(word) for word in ("<|user|>", "<image>", "<|assistant|>"))
    quoted = ToolFormat("<|user|>", "<|end|>", lambda text, _: {"name": "get_time", "arguments": {"text": text}})
    wrapper = Wrapper(tokenizer, quoted, control=(start, quote, other))
    pieces, _ = read(wrapper, "a<image>b<|assistant|><|user|>c<image>d<|end|>", tools=(CLOCK,))
    assert "".join(piece.text for piece in pieces[:-1]) == "ab"
    assert json.loads(pieces[-1].arguments) == {"text": "c<image>d"}


@pytest.mark.parametrize("options", [{}, {"tools": (WEATHER,), "tool_choice": ToolChoice.NONE}])
def test_without_tools_nothing_is_a_call(tokenizer, options):
    pieces, stream = read(Wrapper(tokenizer, form("json_tools")), HERMES, **options)
    assert "".join(piece.text for piece in pieces) == HERMES
    assert stream.notes == ()


def test_json_between_the_usual_markers_needs_no_parser_of_its_own(tokenizer):
    pieces, _ = read(Wrapper(tokenizer), HERMES, "write <tool_call>", tools=(WEATHER,))
    assert [piece.name for piece in pieces] == ["get_weather"]


def test_a_way_of_writing_that_nobody_knows_is_said(tokenizer):
    pieces, stream = read(Wrapper(tokenizer), "call get_time", tools=(CLOCK,))
    assert "".join(piece.text for piece in pieces) == "call get_time"
    assert stream.notes == (NO_FORMAT,)


@pytest.mark.parametrize("choice", [ToolChoice.REQUIRED, "get_time"])
def test_a_call_that_cannot_be_held_to_is_refused_by_name(tokenizer, choice):
    with pytest.raises(RequestError, match="not known") as caught:
        read(Wrapper(tokenizer), "", tools=(CLOCK,), tool_choice=choice)
    assert caught.value.code == "unsupported_option"
    with pytest.raises(RequestError, match="in a way, muse_spark"):
        read(Wrapper(tokenizer, form("muse_spark")), "", tools=(CLOCK,), tool_choice=choice)


SCHEMA = JsonSchema.of({"type": "object"})


@pytest.mark.parametrize(
    ("options", "tools", "several", "otherwise"),
    [
        ({"tool_choice": ToolChoice.REQUIRED}, (WEATHER, CLOCK), True, None),
        ({"tool_choice": "get_time"}, (CLOCK,), False, None),
        ({"response_format": SCHEMA}, (WEATHER, CLOCK), True, SCHEMA),
        ({"tool_choice": ToolChoice.REQUIRED, "response_format": SCHEMA}, (WEATHER, CLOCK), True, None),
    ],
)
def test_an_answer_is_held_to_calls_or_to_its_form(tokenizer, options, tools, several, otherwise):
    made = AnswerForm(Wrapper(tokenizer, form("json_tools")), "")
    held = made.form(GenerateRequest((), tools=(WEATHER, CLOCK), **options))
    assert (held.tools, held.several, held.otherwise) == (tools, several, otherwise)
    assert (held.start, held.end) == ("<tool_call>", "</tool_call>")
    assert held.control["<|end|>"] == tokenizer.convert_tokens_to_ids("<|end|>")


def test_an_answer_is_free_or_held_to_its_form_alone(tokenizer):
    made = AnswerForm(Wrapper(tokenizer, form("json_tools")), "")
    assert made.form(GenerateRequest((), tools=(CLOCK,))) is None
    no_calls = GenerateRequest((), tools=(CLOCK,), tool_choice=ToolChoice.NONE, response_format=SCHEMA)
    assert made.form(no_calls) == SCHEMA
    # Nobody knows how it would call one; that is noted, and the form is what is left.
    assert (
        AnswerForm(Wrapper(tokenizer), "").form(GenerateRequest((), tools=(CLOCK,), response_format=SCHEMA)) == SCHEMA
    )


def test_a_held_call_is_read_by_its_layout(tokenizer):
    """For mlx-lm's parser "null" is no text, whatever the schema says, and [1] a list."""
    said = Tool("say", "", '{"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}')
    arguments = "<parameter=a>\nnull\n</parameter>\n<parameter=b>\n[1]\n\n</parameter>\n"
    text = f"<tool_call>\n<function=say>\n{arguments}</function>\n</tool_call>"
    wrapper = Wrapper(tokenizer, form("qwen3_coder"))
    [call], _ = read(wrapper, text, tools=(said,), tool_choice="say")
    assert json.loads(call.arguments) == {"a": "null", "b": "[1]\n"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tools": (CLOCK, CLOCK)}, "several tools called get_time"),
        ({"tools": (CLOCK,), "tool_choice": "get_weather"}, "no tool called 'get_weather'"),
        ({"tool_choice": ToolChoice.REQUIRED}, "none is given"),
    ],
)
def test_tools_that_contradict_themselves_are_refused(given, words):
    with pytest.raises(RequestError, match=words):
        GenerateRequest(RenderedPrompt("x"), **given)


@pytest.mark.parametrize("name", ["", "two words", "x" * 129, 'a"b'])
def test_a_tool_has_a_name_that_models_can_write(name):
    with pytest.raises(RequestError, match="called"):
        Tool(name)


@pytest.mark.parametrize("text", ["[1]", "{", "nonsense", '{"a": NaN}', "[" * 9999])
def test_parameters_and_arguments_are_json_objects(text):
    with pytest.raises(RequestError, match="parameters of the tool x"):
        Tool("x", parameters=text)
    with pytest.raises(RequestError, match="arguments of the call of x"):
        ToolCall("1", "x", text)


def test_the_same_parameters_are_the_same_text():
    assert Tool("x", parameters='{"b":1,\n "a":"ü"}').parameters == '{"b": 1, "a": "ü"}'


def test_a_tool_comes_in_openais_shape_or_bare():
    bare = {"name": "x", "description": "d", "parameters": {"type": "object"}}
    tool = Tool("x", "d", '{"type": "object"}')
    assert Tool.from_openai({"type": "function", "function": bare}) == tool
    assert Tool.from_openai(bare) == tool
    assert Tool.from_openai({"name": "x"}) == Tool("x")


@pytest.mark.parametrize(
    "given",
    [{"type": "web_search"}, {"name": "x", "colour": 1}, {"name": "x", "strict": "yes"}, {"function": 3}, {}],
)
def test_a_tool_of_another_shape_is_refused(given):
    with pytest.raises(RequestError):
        Tool.from_openai(given)


@pytest.mark.parametrize(
    ("role", "part"),
    [(Role.USER, ToolCall("1", "x")), (Role.TOOL, ToolCall("1", "x")), (Role.USER, ToolResult("1", ""))],
)
def test_calls_and_results_have_their_roles(role, part):
    with pytest.raises(RequestError, match=type(part).__name__):
        Message(role, (Text("a"), part))


THINKS = ThinkingMarkers("<think>", "</think>", silent=("<|silent|>",), frame=("<response>", "</response>"))
TRICKY = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<|silent|>", "<response>", "\n\n<tool_call>")


@pytest.mark.parametrize("word", TRICKY)
@pytest.mark.parametrize("whole", [True, False])
def test_markers_in_an_answer_that_is_held_to_a_form_are_words(word, whole):
    text = json.dumps({"a": f"say {word} twice: {word}"})
    written = f"<think>So {text}?</think>\n{text}"
    pieces = ["<think>", f"So {text}?", "</think>", "\n", text] if whole and "</think>" not in word else None
    if pieces is None and "</think>" in word:
        written = f"<think>So?</think>\n{text}"
    answer = Answer(written, pieces=pieces, thinking=THINKS, held=True)
    assert answer.text.strip() == text
    assert answer.calls == []
    assert answer.notes == ()


def test_what_stands_before_a_held_answer_is_no_part_of_it():
    answer = Answer('<think>hm</think><response><|silent|>{"a": 1}', thinking=THINKS, held=True)
    assert (answer.thinking, answer.text) == ("hm", '{"a": 1}')
    assert Answer('{"a": 1}', thinking=THINKS, held=True).text == '{"a": 1}'


def test_a_held_answer_is_shown_as_it_comes():
    """Nothing is kept back for a marker that it cannot have; for a stop string it is."""
    stream = TextStream(
        Pieces(list('{"a": "<tool \n')), ("]",), THINKS, CallReader(form("json_tools"), (CLOCK,)), held=True
    )
    shown = ["".join(piece.text for piece in stream.push(token)) for token in range(len('{"a": "<tool \n'))]
    assert shown == list('{"a": "<tool \n')


@pytest.mark.parametrize("name", ["json_tools", "mistral", "kimi_k2"])
def test_a_held_call_may_speak_of_its_own_markers(name):
    start, end = form(name).start, form(name).end
    asked = {"city": f"{start} a {end} b {start}", "days": 2}
    written = WRITTEN[name].replace(PARIS, json.dumps(asked))
    answer = Answer(f"\n{written}\n{written}", name, held=True)
    assert answer.asked == [("get_weather", asked)] * 2
    assert (answer.text, answer.notes) == ("", ())


def test_a_held_answer_after_a_call_is_not_expected_but_shown():
    assert Answer(f'{HERMES}\n{{"a": "{HERMES[:11]}"}}', held=True).text.strip() == '{"a": "<tool_call>"}'


def test_a_held_call_that_is_cut_stands_in_the_answer():
    cut = HERMES[:-14]
    answer = Answer(cut, held=True, complete=False)
    assert (answer.text, answer.calls, answer.notes) == (cut, [], (CUT,))
